//! What every command is given: time, chance, environment, working directory, and the way out.

use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::exit::Failure;
use super::render::{Output, note};
use crate::clock::Ambient;
use crate::config::{Config, Environment};

/// Random bytes, handed in by `main`.
#[derive(Clone)]
pub struct Entropy(Arc<dyn Fn() -> [u8; 32] + Send + Sync>);

impl Entropy {
    pub fn new(bytes: impl Fn() -> [u8; 32] + Send + Sync + 'static) -> Self {
        Self(Arc::new(bytes))
    }

    /// 32 bytes that nobody can guess.
    pub fn bytes(&self) -> [u8; 32] {
        (self.0)()
    }

    /// A seed for jitter.
    pub fn seed(&self) -> u64 {
        let mut seed = [0; 8];
        seed.copy_from_slice(&self.bytes()[..8]);
        u64::from_le_bytes(seed)
    }
}

/// What `main` read from the machine.
#[derive(Clone)]
pub struct Machine {
    pub ambient: Ambient,
    pub entropy: Entropy,
    /// Without `.env`.
    pub environment: Environment,
    /// The working directory: `.env` is read here.
    pub folder: PathBuf,
}

/// One command's surroundings.
pub(super) struct Context {
    pub(super) ambient: Ambient,
    pub(super) entropy: Entropy,
    pub(super) environment: Environment,
    pub(super) folder: PathBuf,
    pub(super) config_file: PathBuf,
    pub(super) output: Output,
    pub(super) cancel: CancellationToken,
}

impl Context {
    /// Reads the configuration again, whenever it is called; a value of its own, for tasks.
    pub(super) fn reloading(&self) -> impl Fn() -> Result<Config, Failure> + Send + 'static {
        let (file, environment) = (self.config_file.clone(), self.environment.clone());
        move || Ok(Config::load(&file, &environment)?)
    }

    /// Reads the configuration; its warnings go to stderr.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        let config = Config::load(&self.config_file, &self.environment)?;
        if !self.output.quiet {
            config.warnings.iter().for_each(|warning| note(&format!("warning: {warning}")));
        }
        Ok(config)
    }
}
