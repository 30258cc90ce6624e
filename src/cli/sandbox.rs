//! `demo` and `sandbox`: the simulators, with and without a sync.

use super::args::{Demo, Sandbox};
use super::context::Context;
use super::exit::{Exit, Failure};
use super::operations;
use super::progress::progress;

pub(super) async fn demo(context: &Context, args: &Demo) -> Result<Exit, Failure> {
    let progress = progress(&context.output);
    operations::demo(context, args.once, progress.as_ref()).await
}

pub(super) async fn sandbox(context: &Context, args: &Sandbox) -> Result<Exit, Failure> {
    operations::sandbox(context, args).await
}
