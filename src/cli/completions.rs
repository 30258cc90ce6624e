//! `completions` and `man`: what shells and `man` read, made from the command line's own description.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;

use super::args::{Cli, Completions, Man};
use super::context::Context;
use super::exit::{Exit, Failure};

pub(super) fn completions(context: &Context, args: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "crmsync", &mut script);
    context.output.raw(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Clean)
}

pub(super) fn man(context: &Context, args: &Man) -> Result<Exit, Failure> {
    let command = Cli::command();
    let Some(folder) = &args.output else {
        context.output.raw(&page(&command)?)?;
        return Ok(Exit::Clean);
    };
    fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
    clap_mangen::generate_to(command, folder).map_err(|error| cannot_write(folder, &error))?;
    Ok(Exit::Clean)
}

fn page(command: &clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone())
        .render(&mut page)
        .map_err(|error| Failure::config(format!("cannot write the manual page: {error}")))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::config(format!("cannot write {}: {error}", path.display()))
}
