//! The attribute `once`, with its documentation.

/// Makes a function run once under a key that is made of its arguments.
///
/// All callers with the same key get the outcome of one run. A guarded function takes the same
/// arguments, and returns `Result<Outcome<T>, OnceError<T, E>>` instead of `Result<T, E>`, with
/// [`Outcome`](crate::Outcome) and [`OnceError`](crate::OnceError). Needs the feature `macros`.
///
/// ```
/// use lessor::{Engine, OnceError, Outcome};
///
/// #[lessor::once(engine = engine, key(order_id, tenant), ttl = "30s")]
/// fn charge(engine: &Engine, tenant: &str, order_id: u64, cents: u32) -> Result<String, String> {
///     Ok(format!("charged {cents}"))
/// }
///
/// let engine = lessor::open("memory:")?;
/// let first: Result<Outcome<String>, OnceError<String, String>> = charge(&engine, "acme", 42, 100);
/// let second = charge(&engine, "acme", 42, 100);
/// assert_eq!(second.unwrap().value(), first.unwrap().value());
///
/// let status = engine.status(r#"charge(42,"acme")"#).wait()?;
/// assert_eq!(status.unwrap().attempt(), 1);
/// # Ok::<(), lessor::Error>(())
/// ```
///
/// The body becomes the work that is passed to [`Once::run`](crate::Once::run), or to
/// [`Once::run_async`](crate::Once::run_async) in an `async` function. Errors, panics and
/// cancellation are as documented there. `return` and `?` leave the body. Work that continues
/// without its caller needs [`Once::run_detached`](crate::Once::run_detached).
///
/// # Options
///
/// | option | meaning | default |
/// |---|---|---|
/// | `engine = EXPR` | the [`Engine`](crate::Engine), such as `engine`, `self.engine` or `&ENGINE` | required |
/// | `key(PART, …)` | the arguments that identify the work. `key()` is one key for all calls | required |
/// | `name = "TEXT"` | the text before the arguments in the key | the function's name |
/// | `ttl = "30s"` | [`Once::ttl`](crate::Once::ttl), as a text or as a `Duration` | as there |
/// | `wait_timeout = "5s"` | [`Once::wait_timeout`](crate::Once::wait_timeout), likewise | as there |
/// | `stall_after = "1m"` | [`Once::stall_after`](crate::Once::stall_after), likewise | as there |
/// | `holder = EXPR` | [`Once::holder`](crate::Once::holder) | as there |
/// | `on_failed = EXPR` | [`Once::on_failed`](crate::Once::on_failed) | as there |
/// | `on_lapsed = EXPR` | [`Once::on_lapsed`](crate::Once::on_lapsed) | as there |
/// | `classify = FUNCTION` | [`Once::classify`](crate::Once::classify), such as `\|error\| FailureClass::keep()` | as there |
/// | `reconcile = FUNCTION` | [`Once::reconcile`](crate::Once::reconcile) | none |
/// | `fingerprint(PART, …)` | the arguments that must be equal in all calls with the same key. Another value is refused with [`Error::FingerprintMismatch`](crate::Error::FingerprintMismatch). See [`Once::fingerprint`](crate::Once::fingerprint) | none |
/// | `lease = NAME` | the name under which the body can use the [`Lease`](crate::Lease) | none |
/// | `with = FUNCTION` | changes the request, such as `\|once\| once.metadata(&info)` | none |
/// | `crate = PATH` | the path of this crate, if it has another name | `::lessor` |
///
/// A `PART` is an argument, or an expression that begins with one, such as `order.id` or
/// `tenant.to_lowercase()`. The parts of a key implement [`KeyPart`](crate::KeyPart), and those of a
/// fingerprint `Serialize`.
///
/// # The key
///
/// The key is the call as Rust code writes it: `charge(42,"acme")`. [`Key::of_call`](crate::Key::of_call)
/// defines its exact form. Different parts give different keys. Callers can make the same key with
/// `Key::of_call("charge", &[&order_id, &tenant])`, to list, to resolve or to forget it.
///
/// - Records outlive a deployment. Another name, or another order of the parts, gives other keys.
///   Set `name` before the function is renamed.
/// - Two functions with the same name and the same parts share their keys. Give one of them a
///   `name`.
/// - An argument that is not in the key does not identify the work. A call with the same key and
///   another amount gets the outcome of the first call. `fingerprint(amount)` refuses such a call.
///
/// # A method with policies, and the lease
///
/// ```
/// use std::time::Duration;
///
/// use lessor::{Backoff, Engine, OnFailed, OnLapsed};
///
/// const RETRY: OnFailed = OnFailed::Retry { max_attempts: 5, backoff: Backoff::NONE };
///
/// struct Payments {
///     engine: Engine,
/// }
///
/// impl Payments {
///     #[lessor::once(
///         engine = self.engine,
///         key(order),
///         name = "billing.payout",
///         fingerprint(cents),
///         ttl = "30s",
///         wait_timeout = Duration::from_secs(5),
///         on_failed = RETRY,
///         on_lapsed = OnLapsed::InDoubt,
///         lease = lease,
///     )]
///     async fn payout(&self, order: &str, cents: u32) -> Result<u64, String> {
///         // The bank rejects a token below the highest one that it has seen.
///         self.send(order, cents, lease.token().as_u64()).await
///     }
///
///     async fn send(&self, _order: &str, cents: u32, _token: u64) -> Result<u64, String> {
///         if cents == 0 { Err("nothing to pay".to_owned()) } else { Ok(7) }
///     }
/// }
///
/// let payments = Payments { engine: lessor::open("memory:")? };
/// let paid = lessor::block_on(payments.payout("order-1", 100)).unwrap();
/// assert_eq!(paid.into_value(), 7);
///
/// let refused = lessor::block_on(payments.payout("order-1", 200)).unwrap_err();
/// assert!(matches!(refused, lessor::OnceError::Engine(lessor::Error::FingerprintMismatch)));
/// # Ok::<(), lessor::Error>(())
/// ```
///
/// # Compile errors
///
/// An option or an argument that does not exist, a missing option, and a malformed duration are
/// reported where they are. A part whose values have no unambiguous text is refused as well:
///
/// ```compile_fail,E0277
/// # use lessor::Engine;
/// #[lessor::once(engine = engine, key(price))] // `f64` cannot be a part of a key
/// fn buy(engine: &Engine, price: f64) -> Result<(), String> {
///     Ok(())
/// }
/// ```
pub use lessor_macros::once;
