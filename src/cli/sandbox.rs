//! `sandbox`: the simulators alone.

use super::args::Sandbox;
use super::context::Context;
use super::exit::{Exit, Failure};
use super::operations;

pub(super) async fn sandbox(context: &Context, args: &Sandbox) -> Result<Exit, Failure> {
    operations::sandbox(context, args).await
}
