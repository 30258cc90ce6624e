//! The command line, as clap reads it. Texts here are what `--help` and the manual show.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use crmsync_core::model::{EntityName, RouteName};

use crate::store::Role;

/// Keeps Zoho CRM, Pipedrive and databases the same, both ways.
#[derive(Debug, Parser)]
#[command(name = "crmsync", version, propagate_version = true, after_help = EXIT_CODES)]
#[command(disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  clean
  1  open conflicts, holds or quarantine
  2  configuration or command line
  3  a guard withheld something: review the plan, then --approve its hash
  4  a side is not available
  5  the day's budget is used up
  6  another process holds the route
  7  the store needs a person";

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Options of every command")]
pub struct Global {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", default_value = "crmsync.toml")]
    #[arg(env = "CRMSYNC_CONFIG")]
    pub config: PathBuf,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors only, besides results
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Log more to stderr: -v steps, -vv calls, -vvv everything; `CRMSYNC_LOG` takes a filter
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented crmsync.toml, mappings/ and .env.example
    Init(Init),
    /// Sign in to a connection and store its tokens, encrypted
    Connect(Connect),
    /// Test the store, every connection, and every mapping
    Check,
    /// Show a connection's live modules, or one module's fields
    Describe(Describe),
    /// Draft, check and format mapping files
    #[command(subcommand)]
    Mapping(Mapping),
    /// Show what a sync would do, and what it would cost
    Plan(Plan),
    /// Apply exactly one saved plan
    Apply(Apply),
    /// Plan and apply in one go
    Sync(Sync),
    /// Review and decide conflicts
    #[command(subcommand)]
    Conflicts(Conflicts),
    /// Review what was refused
    #[command(subcommand)]
    Failures(Failures),
    /// History of runs, and undoing one
    #[command(subcommand)]
    Runs(Runs),
    /// Explain a record, or one of its values
    Why(Why),
    /// Say that two records are one
    Link(Link),
    /// Say that two linked records are not one
    Unlink(Unlink),
    /// Show each route's last run, open rows and lag
    Status,
    /// Compare both sides whole, and tell how much is in sync
    Audit(Audit),
    /// Seal the stored sign-ins with a new key
    RotateKey,
    /// Write a file's rows into a module
    Import(Import),
    /// Write a module's records to a file
    Export(ExportModule),
    /// Copy streams of a CRM into a database or a folder
    Replicate(Replicate),
    /// Serve schedules, review pages, REST API and metrics
    Serve(Serve),
    /// Take part in the runs of a store that `serve` or other workers share
    Worker,
    /// Say who may sign in to the pages
    #[command(subcommand)]
    People(People),
    /// Make and remove tokens of the REST API
    #[command(subcommand)]
    Tokens(Tokens),
    /// Sync two simulated CRMs on this machine: no account, no network
    Demo(Demo),
    /// Serve both CRM simulators on this machine
    Sandbox(Sandbox),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page, or write one page a command
    Man(Man),
}

#[derive(Args, Debug)]
pub struct Init {
    /// Where to write
    #[arg(default_value = ".")]
    pub folder: PathBuf,
    /// Mapping sets to write, such as zoho-sql
    #[arg(long, value_name = "SET", value_delimiter = ',', default_value = "zoho-pipedrive")]
    pub mappings: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Import {
    /// CSV or JSON Lines, or a zip of either; - reads stdin
    pub file: PathBuf,
    /// Where to: connection/Module
    #[arg(long, value_name = "CONNECTION/MODULE")]
    pub to: String,
    /// What becomes of a row
    #[arg(long, value_enum, default_value_t = ImportMode::Insert)]
    pub mode: ImportMode,
    /// Column that names a record: id, or a field with a value of its own in each record
    #[arg(long, value_name = "COLUMN", default_value = "id")]
    pub key: String,
    /// Mapping file whose canonical names the columns have
    #[arg(long, value_name = "FILE")]
    pub mapping: Option<PathBuf>,
    /// Write empty cells too: they clear
    #[arg(long)]
    pub clear_empty: bool,
    /// Check every row and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Go on with this line
    #[arg(long, value_name = "LINE", default_value_t = 0)]
    pub from_line: u64,
    /// File for the rows that were imported, with their records' IDs
    #[arg(long, value_name = "FILE")]
    pub success: Option<PathBuf>,
    /// File for the rows that were refused, with the reason; NAME.errors.csv when absent
    #[arg(long, value_name = "FILE")]
    pub errors: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ImportMode {
    /// Make a record of each row
    Insert,
    /// Change the record that the key names
    Update,
    /// Change the record that the key names, or make one
    Upsert,
    /// Delete the record that the key names
    Delete,
}

#[derive(Args, Debug)]
pub struct ExportModule {
    /// Where from: connection/Module
    #[arg(value_name = "CONNECTION/MODULE")]
    pub from: String,
    /// File to write, by its ending CSV, JSON Lines or a zip of either; - writes to stdout
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Write this format whatever the file is called
    #[arg(long, value_enum)]
    pub format: Option<FileFormat>,
    /// Only these fields, by name or label
    #[arg(long, value_name = "FIELD", value_delimiter = ',')]
    pub fields: Vec<String>,
    /// Leave cells as they are that a spreadsheet would run as formulas
    #[arg(long)]
    pub keep_formulas: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FileFormat {
    Csv,
    Jsonl,
}

#[derive(Args, Debug)]
pub struct Replicate {
    /// Name of a [replications.…] table; all of them when absent
    pub name: Option<String>,
    /// List the streams with method, key and cursor, and copy nothing
    #[arg(long)]
    pub list: bool,
    /// Copy only these streams
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub streams: Vec<String>,
    /// Read everything again, whatever is there
    #[arg(long)]
    pub full: bool,
}

#[derive(Args, Debug)]
pub struct Connect {
    /// Name of a [connections.…] table
    pub connection: String,
    /// Grant code, as the vendor's console shows it; asked for when absent
    #[arg(long)]
    pub code: Option<String>,
    /// Create the external-ID fields of the mapped modules
    #[arg(long)]
    pub install: bool,
    /// Only print the OAuth scopes that the mapped modules need
    #[arg(long, conflicts_with_all = ["code", "install"])]
    pub scopes: bool,
}

#[derive(Args, Debug)]
pub struct Describe {
    /// Name of a [connections.…] table
    pub connection: String,
    /// API name of a module
    pub module: Option<String>,
    /// Read it again instead of using what is remembered
    #[arg(long)]
    pub refresh: bool,
}

#[derive(Debug, Subcommand)]
pub enum Mapping {
    /// Draft a mapping file from live metadata
    New(MappingNew),
    /// Check mapping files against live metadata
    Check(MappingCheck),
    /// Format mapping files
    Fmt(MappingFmt),
    /// Print the JSON Schema of mapping files, for editors
    Schema,
}

#[derive(Args, Debug)]
pub struct MappingNew {
    /// Left module, as connection/Module
    pub left: ModuleTarget,
    /// Right module, as connection/Module
    pub right: ModuleTarget,
    /// Canonical name of the entity; default: the left module's name, singular
    #[arg(long)]
    pub entity: Option<String>,
    /// File to write; default: stdout
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct MappingCheck {
    /// Routes to check; default: all
    pub routes: Vec<String>,
    /// Only check the files themselves, without asking any side
    #[arg(long)]
    pub offline: bool,
}

#[derive(Args, Debug)]
pub struct MappingFmt {
    /// Files or folders; default: the mapping folders of all routes
    pub paths: Vec<PathBuf>,
    /// Change nothing; fail if a file would change
    #[arg(long)]
    pub check: bool,
}

#[derive(Args, Debug)]
pub struct Plan {
    /// What to plan, as route or route/entity; default: everything
    #[arg(value_name = "ROUTE[/ENTITY]")]
    pub targets: Vec<Target>,
    /// Save the plan for `crmsync apply`
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    #[command(flatten)]
    pub scope: Scope,
    /// Show every record, not only the first ones
    #[arg(long)]
    pub all: bool,
}

/// How much a run looks at.
#[derive(Args, Clone, Debug)]
pub struct Scope {
    /// Read every listing whole instead of only what changed
    #[arg(long, conflicts_with = "resync")]
    pub full: bool,
    /// Forget the baselines and merge as on the first day; links stay
    #[arg(long)]
    pub resync: bool,
    /// Only this record, by its ID on either side
    #[arg(long, value_name = "ID")]
    pub record: Option<String>,
}

#[derive(Args, Debug)]
pub struct Apply {
    /// A plan that `crmsync plan -o` saved
    pub plan: PathBuf,
    /// Hash of the plan, where guards or a first sync ask for consent
    #[arg(long, value_name = "HASH")]
    pub approve: Option<String>,
}

#[derive(Args, Debug)]
pub struct Sync {
    /// What to sync, as route or route/entity; default: everything
    #[arg(value_name = "ROUTE[/ENTITY]")]
    pub targets: Vec<Target>,
    /// Hash of the plan that `crmsync plan` showed, where guards or a first sync ask for consent; `auto` consents
    /// to whatever the plan turns out to be
    #[arg(long, value_name = "HASH")]
    pub approve: Option<String>,
    #[command(flatten)]
    pub scope: Scope,
}

#[derive(Debug, Subcommand)]
pub enum Conflicts {
    /// List conflicts and questions
    List(ListRows),
    /// Show one conflict whole
    Show(OneRow),
    /// Decide one conflict, or many from a corrected export
    Resolve(Resolve),
    /// Write the conflict report
    Export(Export),
}

#[derive(Args, Debug)]
pub struct ListRows {
    /// Only this route, or this entity of it
    #[arg(value_name = "ROUTE[/ENTITY]")]
    pub target: Option<Target>,
    /// Also those already decided or gone
    #[arg(long)]
    pub all: bool,
}

#[derive(Args, Debug)]
pub struct OneRow {
    /// ID of the row, or the beginning of it
    pub id: String,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["id", "from"]))]
pub struct Resolve {
    /// ID of the row, or the beginning of it
    #[arg(requires = "choice")]
    pub id: Option<String>,
    /// left, right, value, pin, link:ID, create, or ignore
    #[arg(long, conflicts_with = "from")]
    pub choice: Option<String>,
    /// The value to write, with --choice value; in the left side's form
    #[arg(long, conflicts_with = "from")]
    pub value: Option<String>,
    /// A CSV that `conflicts export` wrote, with the column `choice` filled in
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub struct Export {
    /// Only this route, or this entity of it
    #[arg(value_name = "ROUTE[/ENTITY]")]
    pub target: Option<Target>,
    /// File to write; its ending chooses the format; default: CSV on stdout
    #[arg(long, short)]
    pub output: Option<PathBuf>,
    /// Format, where the file's ending does not tell
    #[arg(long)]
    pub format: Option<Format>,
    /// Also those already decided or gone
    #[arg(long)]
    pub all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Csv,
    Json,
    Html,
}

#[derive(Debug, Subcommand)]
pub enum Failures {
    /// List refused records and fields
    List(ListRows),
    /// Let refused records try again in the next run
    Retry(Retry),
    /// Write the refused records and fields as CSV
    Export(Export),
}

#[derive(Args, Debug)]
pub struct Retry {
    /// Only this route, or this entity of it
    #[arg(value_name = "ROUTE[/ENTITY]")]
    pub target: Option<Target>,
    /// Only this record, by its ID
    #[arg(long, value_name = "ID")]
    pub record: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Runs {
    /// List the latest runs
    List(RunsList),
    /// Show one run and what it wrote
    Show(RunId),
    /// Write back what a run changed, where nobody changed it since
    Undo(RunsUndo),
    /// After an undo: let the next run do it again
    Redo(RunId),
    /// After an undo: keep the state as it is now
    Accept(RunId),
}

#[derive(Args, Debug)]
pub struct RunsUndo {
    /// ID of the run
    pub id: String,
    /// Hash of what would be taken back, where the delete cap asks for consent; `auto` consents
    #[arg(long, value_name = "HASH")]
    pub approve: Option<String>,
}

#[derive(Args, Debug)]
pub struct RunsList {
    /// Only this route
    pub route: Option<String>,
    /// How many
    #[arg(long, short = 'n', default_value_t = 20)]
    pub limit: u64,
}

#[derive(Args, Debug)]
pub struct RunId {
    /// ID of the run
    pub id: String,
}

#[derive(Args, Debug)]
pub struct Why {
    /// Route and entity
    #[arg(value_name = "ROUTE/ENTITY")]
    pub target: Target,
    /// ID of the record, on either side
    pub id: String,
    /// Canonical name of a field
    pub field: Option<String>,
}

#[derive(Args, Debug)]
pub struct Link {
    /// Route and entity
    #[arg(value_name = "ROUTE/ENTITY")]
    pub target: Target,
    /// ID of the record on the left side
    pub left: String,
    /// ID of the record on the right side
    pub right: String,
    /// Take either record out of the link it is in; the record left behind is not matched again by itself
    #[arg(long = "move")]
    pub moves: bool,
}

#[derive(Args, Debug)]
pub struct Unlink {
    /// Route and entity
    #[arg(value_name = "ROUTE/ENTITY")]
    pub target: Target,
    /// ID of one of the two records
    pub id: String,
}

#[derive(Args, Debug)]
pub struct Audit {
    /// What to compare, as route or route/entity; default: everything
    #[arg(value_name = "ROUTE[/ENTITY]")]
    pub targets: Vec<Target>,
    /// Show every difference that is kept, not only the first ones
    #[arg(long)]
    pub all: bool,
}

#[derive(Args, Debug)]
pub struct Serve {
    /// Address and port, instead of serve.listen; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
}

#[derive(Debug, Subcommand)]
pub enum People {
    /// List who may sign in
    List,
    /// Let somebody sign in, or give them another password or role; the password is read from stdin
    Add(NewPerson),
    /// End somebody's sign-ins and let them in no more
    Remove {
        /// Name of the person
        name: String,
    },
}

#[derive(Args, Debug)]
pub struct NewPerson {
    /// Name to sign in with
    pub name: String,
    /// viewer reads, reviewer decides conflicts, operator starts and approves runs
    #[arg(long, default_value_t = Role::Viewer)]
    pub role: Role,
}

#[derive(Debug, Subcommand)]
pub enum Tokens {
    /// List the tokens
    List,
    /// Make a token, or replace the one of that name, and print it
    New(NewToken),
    /// Remove a token
    Remove {
        /// Name of the token
        name: String,
    },
}

#[derive(Args, Debug)]
pub struct NewToken {
    /// What the token is for
    pub name: String,
    /// viewer reads, reviewer decides conflicts, operator starts and approves runs
    #[arg(long, default_value_t = Role::Viewer)]
    pub role: Role,
}

#[derive(Args, Debug)]
pub struct Demo {
    /// End after the second sync instead of going on
    #[arg(long)]
    pub once: bool,
}

#[derive(Args, Debug)]
pub struct Sandbox {
    /// Port of the Zoho CRM simulator; 0 picks a free one
    #[arg(long, default_value_t = 4701)]
    pub zoho_port: u16,
    /// Port of the Pipedrive simulator; 0 picks a free one
    #[arg(long, default_value_t = 4702)]
    pub pipedrive_port: u16,
    /// Start without any records
    #[arg(long)]
    pub empty: bool,
}

#[derive(Args, Debug)]
pub struct Completions {
    pub shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
pub struct Man {
    /// Folder to write one page a command into; default: the main page on stdout
    #[arg(long, short)]
    pub output: Option<PathBuf>,
}

/// A route, or one entity of it: `crm`, `crm/contact`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    pub route: RouteName,
    pub entity: Option<EntityName>,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (route, entity) = match text.split_once('/') {
            Some((route, entity)) => (route, Some(entity)),
            None => (text, None),
        };
        if route.is_empty() || entity == Some("") {
            return Err("write route, or route/entity".into());
        }
        Ok(Self { route: RouteName::new(route), entity: entity.map(EntityName::new) })
    }
}

/// A module of a connection: `zoho/Contacts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleTarget {
    pub connection: String,
    pub module: String,
}

impl std::str::FromStr for ModuleTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((connection, module)) if !connection.is_empty() && !module.is_empty() => {
                Ok(Self { connection: connection.into(), module: module.into() })
            }
            Some(_) | None => Err("write connection/Module, such as zoho/Contacts".into()),
        }
    }
}
