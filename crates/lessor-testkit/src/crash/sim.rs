//! The world as a function under test sees it.

use std::fmt;
use std::sync::Arc;

use lessor_core::Engine;
use lessor_fence::StaleToken;
use serde::{Deserialize, Serialize};

use crate::crash::process::{Passage, Process};
use crate::crash::step::Step;
use crate::crash::world::{Effect, World};

/// One simulated process, as the function under test sees it: an engine, and a sink for effects.
///
/// Every operation of the engine and every call to the sink is a step, at which the kit crashes or
/// suspends the process, loses the reply, or lets another process take over. The clock stands still
/// otherwise. Only the calls of the thread that runs the function are steps.
///
/// The sink stands for the outside world: a payment service, a mail server, a file. It survives a
/// crash.
pub struct Sim {
    engine: Engine,
    process: Arc<Process>,
    world: Arc<World>,
}

/// The reason that a call to the sink did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum EffectError {
    /// No reply arrived. The effect may have happened or not.
    #[error("no reply arrived; the effect may have happened")]
    NoReply,
    /// The sink has seen a higher token. The effect did not happen.
    #[error(transparent)]
    Stale(#[from] StaleToken),
}

impl Sim {
    pub(crate) fn new(engine: Engine, process: Arc<Process>, world: Arc<World>) -> Self {
        Self { engine, process, world }
    }

    /// Returns the engine of this process.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Returns the number of this process, from 1.
    #[must_use]
    pub fn worker(&self) -> usize {
        self.process.number()
    }

    /// Causes an effect, such as `effect("charge", "order-7")`. Each call is one effect.
    ///
    /// # Errors
    ///
    /// [`EffectError::NoReply`] if the kit loses the request or the reply.
    pub fn effect(&self, name: &str, key: &str) -> Result<(), EffectError> {
        self.call(Step::Effect(name.to_owned()), || {
            self.happen(name, key);
            Ok(())
        })
    }

    /// Causes an effect at a sink that remembers the highest token of the key.
    ///
    /// # Errors
    ///
    /// [`EffectError::Stale`] if the sink has seen a higher token, and [`EffectError::NoReply`] if
    /// the kit loses the request or the reply.
    pub fn effect_fenced(&self, name: &str, key: &str, token: impl Into<u64>) -> Result<(), EffectError> {
        let token = token.into();
        self.call(Step::Effect(name.to_owned()), || {
            self.world.check(key, token)?;
            self.happen(name, key);
            Ok(())
        })
    }

    /// Causes an effect at a sink that ignores the same effect of the same key the second time, as
    /// services with an idempotency key do.
    ///
    /// # Errors
    ///
    /// [`EffectError::NoReply`] if the kit loses the request or the reply.
    pub fn effect_idempotent(&self, name: &str, key: &str) -> Result<(), EffectError> {
        self.call(Step::Effect(name.to_owned()), || {
            if !self.world.has_happened(name, key) {
                self.happen(name, key);
            }
            Ok(())
        })
    }

    /// Shows a token to the sink, so that it refuses lower ones from now on.
    ///
    /// # Errors
    ///
    /// As for [`effect_fenced`](Self::effect_fenced).
    pub fn fence(&self, key: &str, token: impl Into<u64>) -> Result<(), EffectError> {
        let token = token.into();
        self.call(Step::Fence, || Ok(self.world.check(key, token)?))
    }

    /// Asks the sink whether an effect has happened.
    ///
    /// # Errors
    ///
    /// [`EffectError::NoReply`] if the process has been killed.
    pub fn has_happened(&self, name: &str, key: &str) -> Result<bool, EffectError> {
        self.call(Step::Question(name.to_owned()), || Ok(self.world.has_happened(name, key)))
    }

    fn call<T>(&self, step: Step, call: impl FnOnce() -> Result<T, EffectError>) -> Result<T, EffectError> {
        match self.process.step(step) {
            Passage::Taken => call(),
            Passage::LostReply => {
                let _lost = call();
                Err(EffectError::NoReply)
            }
            Passage::LostRequest | Passage::Refused => Err(EffectError::NoReply),
        }
    }

    fn happen(&self, name: &str, key: &str) {
        let effect = Effect { name: name.to_owned(), key: key.to_owned(), worker: self.worker() };
        self.world.happen(effect);
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim").field("worker", &self.worker()).finish_non_exhaustive()
    }
}
