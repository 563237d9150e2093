//! The fence in memory.

use std::time::Duration;

use parking_lot::Mutex;

use crate::stale::StaleToken;
use crate::table::Table;
use crate::turns::Turns;

/// A fence in the memory of one process. It is lost with the process, so it fits a sink that is
/// lost with it as well.
///
/// Keys are texts and are compared byte for byte. Tokens are numbers; a `lessor::Token` converts
/// into one. A key takes its length and about 50 bytes of memory until it is forgotten.
///
/// ```
/// use lessor_fence::MemoryFence;
///
/// let fence = MemoryFence::new();
/// let mut written = Vec::new();
/// fence.run("report", 7_u64, || written.push("alice"))?;
/// fence.run("report", 8_u64, || written.push("bob"))?;
/// assert!(fence.run("report", 7_u64, || written.push("alice, late")).is_err());
/// assert_eq!(written, ["alice", "bob"]);
/// # Ok::<(), lessor_fence::StaleToken>(())
/// ```
#[derive(Debug, Default)]
pub struct MemoryFence {
    turns: Turns,
    table: Mutex<Table>,
}

impl MemoryFence {
    /// Returns a fence that has seen no token.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `effect` if the token is the highest of the key so far, or equal to it.
    ///
    /// No other effect of the key runs meanwhile, and none with a lower token runs later. Effects
    /// of other keys are not delayed. The token counts from before the effect on, whether the
    /// effect succeeds, fails or panics.
    ///
    /// The effect must not use this fence for the same key again, because it would wait for itself.
    ///
    /// # Errors
    ///
    /// [`StaleToken`] if the fence has seen a higher token. The effect does not run.
    pub fn run<T>(
        &self,
        key: &str,
        token: impl Into<u64>,
        effect: impl FnOnce() -> T,
    ) -> Result<T, StaleToken> {
        let token = token.into();
        self.turns.take(key, || {
            self.admit(key, token)?;
            Ok(effect())
        })
    }

    /// Polls `effect` if the token is the highest of the key so far, or equal to it. The async form
    /// of [`run`](Self::run), for any executor. Both can be used on one fence.
    ///
    /// ```
    /// use lessor_fence::MemoryFence;
    /// # futures_lite::future::block_on(async {
    /// let fence = MemoryFence::new();
    /// fence.run_async("report", 8_u64, async { println!("bob uploads") }).await?;
    /// let refused = fence.run_async("report", 7_u64, async { println!("alice uploads") }).await;
    /// assert_eq!(refused.unwrap_err().highest, 8);
    /// # Ok::<(), lessor_fence::StaleToken>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    ///
    /// [`StaleToken`] if the fence has seen a higher token. The effect is not polled.
    ///
    /// # Cancellation safety
    ///
    /// Dropping the returned future drops the effect, and lets the next effect of the key run. The
    /// token counts if the effect has been polled.
    pub async fn run_async<T>(
        &self,
        key: &str,
        token: impl Into<u64>,
        effect: impl Future<Output = T>,
    ) -> Result<T, StaleToken> {
        let token = token.into();
        let admitted = async {
            self.admit(key, token)?;
            Ok(effect.await)
        };
        self.turns.take_async(key, admitted).await
    }

    /// Checks the token and remembers it, like [`run`](Self::run) with no effect. Waits for a
    /// running effect of the key.
    ///
    /// The answer is outdated as soon as a newer holder comes, so an effect that follows it is not
    /// protected. Prefer [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// [`StaleToken`] if the fence has seen a higher token.
    pub fn check(&self, key: &str, token: impl Into<u64>) -> Result<(), StaleToken> {
        self.run(key, token, || ())
    }

    /// Forgets the keys whose highest token is below `floor`. Returns their number.
    ///
    /// From then on, a key that the fence does not know is accepted with tokens from `floor` on
    /// only. So forgetting never lets a former holder through. It refuses a holder whose own token
    /// is below the floor and that causes its first effect only now. A token is at least the time
    /// of its grant in microseconds since 1970. A floor is therefore harmless if it is the time
    /// before which every lease has ended, such as now minus the longest time for which a lease is
    /// held (`max_hold`, or the ttl if it is never renewed).
    ///
    /// A floor below an earlier one has no effect.
    pub fn forget_below(&self, floor: impl Into<u64>) -> usize {
        let mut table = self.table.lock();
        let before = table.len();
        table.forget_below(floor.into());
        before - table.len()
    }

    /// Forgets the keys whose highest token is older than `age`, counted back from the newest token
    /// of all keys. Returns their number. No clock is read. See
    /// [`forget_below`](Self::forget_below) for the choice of the age.
    pub fn forget_older_than(&self, age: Duration) -> usize {
        let floor = self.table.lock().floor_of(age);
        self.forget_below(floor)
    }

    /// Returns the highest token of the key, or `None` if the key is not known.
    #[must_use]
    pub fn highest(&self, key: &str) -> Option<u64> {
        self.table.lock().get(key)
    }

    /// Returns the number of keys that the fence remembers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Returns whether the fence remembers no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn admit(&self, key: &str, token: u64) -> Result<(), StaleToken> {
        let mut table = self.table.lock();
        table.judge(key, token)?;
        table.raise(key, token);
        Ok(())
    }
}
