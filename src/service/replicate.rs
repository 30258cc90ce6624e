//! The order of a copy, on one page: streams of a side into a database or a folder.
//!
//! A stream is read page by page while the page before is stored; each batch is stored together with the place where
//! reading goes on. So a copy that is stopped goes on, and one that fails leaves what was there.

use std::sync::Arc;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use crmsync_core::model::schema::ModuleSchema;
use crmsync_core::replica::names;
use crmsync_core::replica::rows::{Batch, Sheet};
use crmsync_core::replica::shape::Shape;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connect;
use super::error::{Exit, ServiceError};
use super::run::Progress;
use crate::clock::Ambient;
use crate::config::{Config, NewFields, ReplicaDeletes, ReplicaTarget, Replication};
use crate::connectors::landing::Landing;
use crate::connectors::sql::warehouse::{Fate, Last, Meeting, Warehouse};
use crate::connectors::streams::{Method, RawPage, RawRequest, Stream};
use crate::connectors::{Connector, ConnectorError, ErrorKind, PageKey};

/// Seconds read again before the watermark, as in a sync.
const OVERLAP: TimeDelta = TimeDelta::seconds(300);
/// Bytes of rows stored together. A list that is read whole is stored at once up to the second.
const BATCH: usize = 8 << 20;
const WHOLE: usize = 64 << 20;
/// Pages read ahead of the storing.
const AHEAD: usize = 4;
/// How often one walk may start again.
const RESTARTS: u32 = 5;

/// What a command asks of a copy.
#[derive(Clone, Default)]
pub struct ReplicaOptions {
    /// Only these; empty: as configured.
    pub streams: Vec<String>,
    /// Read everything again.
    pub full: bool,
    pub cancel: CancellationToken,
}

/// What became of one stream.
#[derive(Clone, Debug, Serialize)]
pub struct StreamReport {
    pub stream: String,
    pub method: Method,
    /// Records that the side answered, of them stored, and those found to be deleted.
    pub read: u64,
    pub stored: u64,
    pub deleted: u64,
    /// Rows of the table that are there now; none for a folder.
    pub rows: Option<u64>,
    /// Records that the side listed, where it was read whole.
    pub listed: Option<u64>,
    /// Why it was left out or stopped.
    pub note: Option<String>,
    pub outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Copied,
    /// The account has no such list, or may not see it.
    Skipped,
    Failed,
}

/// What a copy did.
#[derive(Clone, Debug, Serialize)]
pub struct ReplicaReport {
    pub replication: String,
    pub streams: Vec<StreamReport>,
    #[serde(skip)]
    pub exit: Exit,
}

/// Where a stream's reading goes on; stored beside its rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Place {
    /// A walk through everything is under way, and this is its next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<PageKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<DateTime<Utc>>,
    /// When that walk began, by the side's clock and by the database's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    began: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stored_from: Option<DateTime<Utc>>,
    #[serde(default)]
    listed: u64,
    /// Everything up to here is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    watermark: Option<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deletions_until: Option<DateTime<Utc>>,
}

/// Where the streams go.
enum Target {
    Database(Box<Warehouse>),
    Folder(Landing),
}

/// A replication with its side open.
pub struct Replica {
    name: String,
    settings: Replication,
    connector: Arc<dyn Connector>,
    streams: Vec<Stream>,
    is_chosen: bool,
}

impl Replica {
    /// Signs in and lists the streams.
    ///
    /// # Errors
    /// An unknown replication or stream, a side that cannot be copied or is out of reach.
    pub async fn open(
        config: &Config,
        name: &str,
        options: &ReplicaOptions,
        ambient: &Ambient,
    ) -> Result<Self, ServiceError> {
        let settings = config.replications.get(name).cloned().ok_or_else(|| {
            let known: Vec<_> = config.replications.keys().map(String::as_str).collect();
            ServiceError::Config(format!(
                "there is no replication `{name}` in {}; it has: {}",
                config.file.display(),
                known.join(", ")
            ))
        })?;
        let store = connect::open_store(config).await?;
        let connector = connect::connector(config, &settings.from, &store, ambient).await?;
        let Some(streams) = connector.streams() else {
            let reason = format!("replications.{name}: `{}` has no streams to copy", settings.from);
            return Err(ServiceError::Config(reason));
        };
        let all = streams.streams().await?;
        connect::keep_metadata(&store, &settings.from, connector.as_ref(), ambient).await?;
        store.close().await?;
        let wanted = if options.streams.is_empty() {
            settings.streams.clone().unwrap_or_default()
        } else {
            options.streams.clone()
        };
        let streams = chosen(&all, &wanted)?;
        Ok(Self {
            name: name.to_owned(),
            settings,
            connector,
            streams,
            is_chosen: !wanted.is_empty(),
        })
    }

    /// The streams that a run copies, in its order.
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// Copies every stream. One that fails is told of, and the others go on.
    ///
    /// # Errors
    /// A target that cannot be opened, or a person who asked to stop.
    pub async fn run(
        &self,
        config: &Config,
        options: &ReplicaOptions,
        ambient: &Ambient,
        progress: &dyn Progress,
    ) -> Result<ReplicaReport, ServiceError> {
        let mut target = match &self.settings.to {
            ReplicaTarget::Connection(name) => {
                let settings = connect::warehouse(config, name, ambient)?;
                Target::Database(Box::new(Warehouse::open(&settings, &ambient.clock).await?))
            }
            ReplicaTarget::Folder(folder) => {
                let landing = Landing::open(folder, &self.name, &ambient.ids.next());
                Target::Folder(landing.map_err(|error| ServiceError::Config(error.to_string()))?)
            }
        };
        let mut reports = Vec::new();
        for stream in &self.streams {
            if options.cancel.is_cancelled() {
                return Err(ServiceError::Cancelled);
            }
            progress.phase(&stream.name, None);
            let mut report = StreamReport::new(stream);
            let copied = self.copy(stream, &mut target, options, progress, &mut report).await;
            match copied {
                Ok(()) => {}
                Err(ServiceError::Cancelled) => return Err(ServiceError::Cancelled),
                Err(ServiceError::Connector(error))
                    if !self.is_chosen && is_absent(&error.kind) =>
                {
                    report.outcome = Outcome::Skipped;
                    report.note = Some(error.kind.to_string());
                }
                Err(error) => {
                    report.outcome = Outcome::Failed;
                    report.note = Some(error.to_string());
                }
            }
            reports.push(report);
        }
        if let Target::Folder(landing) = &target {
            landing.finish().map_err(|error| ServiceError::Config(error.to_string()))?;
        }
        let exit = reports.iter().map(StreamReport::exit).max().unwrap_or(Exit::Clean);
        Ok(ReplicaReport { replication: self.name.clone(), streams: reports, exit })
    }

    async fn copy(
        &self,
        stream: &Stream,
        target: &mut Target,
        options: &ReplicaOptions,
        progress: &dyn Progress,
        report: &mut StreamReport,
    ) -> Result<(), ServiceError> {
        match target {
            Target::Database(warehouse) => {
                match self.fill_database(stream, warehouse, options, progress, report).await {
                    // Rows of a first load came twice: from the last stored place on, they meet by key.
                    Err(ServiceError::Connector(error))
                        if matches!(error.kind, ErrorKind::Duplicate { .. }) =>
                    {
                        self.again(stream, warehouse, options, progress, report).await
                    }
                    other => other,
                }
            }
            Target::Folder(landing) => self.land(stream, landing, options, progress, report).await,
        }
    }

    async fn again(
        &self,
        stream: &Stream,
        warehouse: &mut Warehouse,
        options: &ReplicaOptions,
        progress: &dyn Progress,
        report: &mut StreamReport,
    ) -> Result<(), ServiceError> {
        *report = StreamReport::new(stream);
        self.load(stream, warehouse, options, progress, report, Meeting::Replace).await
    }

    async fn fill_database(
        &self,
        stream: &Stream,
        warehouse: &mut Warehouse,
        options: &ReplicaOptions,
        progress: &dyn Progress,
        report: &mut StreamReport,
    ) -> Result<(), ServiceError> {
        self.load(stream, warehouse, options, progress, report, Meeting::New).await
    }

    /// Reads what there is to read, and stores it batch by batch.
    async fn load(
        &self,
        stream: &Stream,
        warehouse: &mut Warehouse,
        options: &ReplicaOptions,
        progress: &dyn Progress,
        report: &mut StreamReport,
        first_meeting: Meeting,
    ) -> Result<(), ServiceError> {
        let mut place = self.place(stream, warehouse, options).await?;
        let mut sheet = self.sheet(stream, warehouse, &place).await?;
        let whole = place.watermark.is_none() || stream.method == Method::FullTable;
        // Nothing was ever stored whole: then nothing is there to be met.
        let meeting =
            if place.watermark.is_none() && !options.full && stream.method == Method::Changes {
                first_meeting
            } else {
                Meeting::Replace
            };
        if place.stored_from.is_none() {
            place.stored_from = Some(warehouse.now().await?);
        }
        let limit = if stream.method == Method::FullTable { WHOLE } else { BATCH };
        let since = place.since.or_else(|| self.since(stream, &place, whole));
        let mut pages = fetch(&self.connector, stream, whole, since, place.page.clone());
        let (mut batch, mut ended) = (Batch::default(), false);
        while let Some(page) = pages.recv().await {
            if options.cancel.is_cancelled() {
                return Err(ServiceError::Cancelled);
            }
            let Fetched { page, since } = page?;
            place.began = place.began.or(page.server_time);
            let read = sheet.read(&page.rows, &mut batch).map_err(|_| self.unreadable(stream))?;
            progress.advance(read as u64);
            report.read += read as u64;
            place.listed += read as u64;
            (place.page, place.since) = (page.next.clone(), since);
            ended = page.next.is_none();
            if ended || batch.size() >= limit {
                let last = ended.then(|| self.last(stream, &mut place, whole)).flatten();
                let state = serde_json::to_string(&place).unwrap_or_default();
                let stored =
                    warehouse.store(&stream.name, &sheet, &batch, meeting, last, &state).await?;
                report.stored += stored.rows;
                report.deleted += stored.buried;
                batch = Batch::default();
            }
        }
        if !ended {
            return Err(self.unreadable(stream).into());
        }
        if whole {
            report.listed = Some(place.listed);
        }
        self.deletions(stream, warehouse, &sheet, &mut place, report).await?;
        report.rows = Some(warehouse.count(&sheet).await?);
        if let (Some(listed), Some(rows)) = (report.listed, report.rows)
            && stream.method == Method::FullTable
            && self.fate() != Fate::Keep
            && listed == report.read
            && rows != report.stored
        {
            report.outcome = Outcome::Failed;
            report.note = Some(format!("{listed} records were listed, {rows} rows are there"));
        }
        Ok(())
    }

    /// What ends a walk: the watermark moves, and what a whole listing did not show is gone.
    fn last(&self, stream: &Stream, place: &mut Place, whole: bool) -> Option<Last> {
        place.watermark = place.watermark.max(place.began.take());
        place.deletions_until = place.deletions_until.or(place.watermark);
        place.since = None;
        let stored_from = place.stored_from.take();
        // A walk from a start date shows only a part.
        let bounded = self.settings.start_date.is_some() && stream.method == Method::Changes;
        let shows_all = whole && !bounded;
        Some(Last { unseen_since: stored_from.filter(|_| shows_all)?, fate: self.fate() })
    }

    const fn fate(&self) -> Fate {
        match self.settings.deletes {
            ReplicaDeletes::Soft => Fate::Mark,
            ReplicaDeletes::Hard => Fate::Remove,
            ReplicaDeletes::Keep => Fate::Keep,
        }
    }

    fn since(&self, stream: &Stream, place: &Place, whole: bool) -> Option<DateTime<Utc>> {
        if stream.method == Method::FullTable {
            return None;
        }
        if whole {
            let day = self.settings.start_date?;
            return Some(day.and_time(NaiveTime::MIN).and_utc());
        }
        place.watermark.map(|watermark| watermark - OVERLAP)
    }

    async fn place(
        &self,
        stream: &Stream,
        warehouse: &Warehouse,
        options: &ReplicaOptions,
    ) -> Result<Place, ServiceError> {
        let state = warehouse.state(&stream.name).await?;
        let place: Place =
            state.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        let walks = place.page.is_some();
        Ok(if options.full && !walks {
            Place { deletions_until: place.deletions_until, ..Place::default() }
        } else if walks {
            place
        } else {
            // The next walk counts anew.
            Place { listed: 0, ..place }
        })
    }

    /// Tables as they are, with what the side says about fields that are not there yet.
    async fn sheet(
        &self,
        stream: &Stream,
        warehouse: &mut Warehouse,
        place: &Place,
    ) -> Result<Sheet, ServiceError> {
        let table = names::plain(&stream.name);
        let mut sheet = warehouse.sheet(&stream.name, &table, &stream.key).await?;
        let closes = self.settings.new_fields == NewFields::Ignore && place.watermark.is_some();
        if let Some(module) = &stream.module {
            let schema = self.connector.describe(module).await?;
            describe(&mut sheet, &schema, closes);
        }
        sheet.closed = closes;
        Ok(sheet)
    }

    /// Asks the side which records are gone.
    async fn deletions(
        &self,
        stream: &Stream,
        warehouse: &mut Warehouse,
        sheet: &Sheet,
        place: &mut Place,
        report: &mut StreamReport,
    ) -> Result<(), ServiceError> {
        let (Some(streams), Some(until)) = (self.connector.streams(), place.deletions_until) else {
            return Ok(());
        };
        if stream.method == Method::FullTable || self.fate() == Fate::Keep {
            return Ok(());
        }
        let (mut page, mut began) = (None, None);
        loop {
            let gone = streams.gone(stream, until - OVERLAP, page.as_ref()).await?;
            began = began.or(gone.server_time);
            let ids: Vec<_> = gone.rows.into_iter().map(|row| row.id).collect();
            report.deleted += warehouse.gone(sheet, &ids, self.fate()).await?;
            page = gone.next;
            if page.is_none() {
                break;
            }
        }
        place.deletions_until = began.or(place.deletions_until);
        let state = serde_json::to_string(place).unwrap_or_default();
        warehouse
            .store(&stream.name, sheet, &Batch::default(), Meeting::Replace, None, &state)
            .await?;
        Ok(())
    }

    /// Lands what changed since the last run that ended, as it came.
    async fn land(
        &self,
        stream: &Stream,
        landing: &mut Landing,
        options: &ReplicaOptions,
        progress: &dyn Progress,
        report: &mut StreamReport,
    ) -> Result<(), ServiceError> {
        let failed = |error: std::io::Error| ServiceError::Config(format!("cannot land: {error}"));
        let known = if options.full { None } else { landing.watermark(&stream.name) };
        let whole = known.is_none() || stream.method == Method::FullTable;
        let place = Place { watermark: known, ..Place::default() };
        let mut file = landing.begin(&stream.name).map_err(failed)?;
        let since = self.since(stream, &place, whole);
        let mut pages = fetch(&self.connector, stream, whole, since, None);
        let (mut began, mut ended) = (None, false);
        while let Some(page) = pages.recv().await {
            if options.cancel.is_cancelled() {
                return Err(ServiceError::Cancelled);
            }
            let Fetched { page, .. } = page?;
            began = began.or(page.server_time);
            let read = file.append(&page.rows).map_err(failed)?;
            progress.advance(read);
            report.read += read;
            ended = page.next.is_none();
        }
        if !ended {
            return Err(self.unreadable(stream).into());
        }
        report.stored = report.read;
        report.listed = whole.then_some(report.read);
        landing.end(file, whole, known.max(began)).map_err(failed)
    }

    fn unreadable(&self, stream: &Stream) -> ConnectorError {
        ConnectorError {
            connection: self.settings.from.clone(),
            operation: format!("copy {}", stream.name),
            kind: ErrorKind::Undecodable("expected a list of records".into()),
        }
    }
}

impl StreamReport {
    fn new(stream: &Stream) -> Self {
        Self {
            stream: stream.name.clone(),
            method: stream.method,
            read: 0,
            stored: 0,
            deleted: 0,
            rows: None,
            listed: None,
            note: None,
            outcome: Outcome::Copied,
        }
    }

    const fn exit(&self) -> Exit {
        match self.outcome {
            Outcome::Copied | Outcome::Skipped => Exit::Clean,
            Outcome::Failed => Exit::SideUnavailable,
        }
    }
}

/// A page, and the time from which its walk reads.
struct Fetched {
    page: RawPage,
    since: Option<DateTime<Utc>>,
}

/// Reads ahead; a walk that is too long for its page keys goes on from the last time seen.
fn fetch(
    connector: &Arc<dyn Connector>,
    stream: &Stream,
    whole: bool,
    since: Option<DateTime<Utc>>,
    page: Option<PageKey>,
) -> mpsc::Receiver<Result<Fetched, ConnectorError>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (connector, stream) = (Arc::clone(connector), stream.clone());
    tokio::spawn(async move {
        let (mut since, mut page, mut restarts, mut latest) = (since, page, 0, None::<RawPage>);
        let Some(streams) = connector.streams() else { return };
        loop {
            let request = RawRequest { stream: &stream, since, whole, page: page.as_ref() };
            let read = match streams.raw(&request).await {
                Err(error)
                    if restarts < RESTARTS
                        && matches!(error.kind, ErrorKind::PageExpired | ErrorKind::ScanLimit) =>
                {
                    restarts += 1;
                    page = None;
                    since = latest.take().and_then(|page| last_time(&page, &stream)).or(since);
                    continue;
                }
                other => other,
            };
            let next = read.as_ref().ok().and_then(|page| page.next.clone());
            latest = read.as_ref().ok().cloned();
            let is_over = next.is_none();
            let sent = sender.send(read.map(|page| Fetched { page, since })).await;
            if is_over || sent.is_err() {
                return;
            }
            page = next;
        }
    });
    receiver
}

/// When the last record of a page was changed.
fn last_time(page: &RawPage, stream: &Stream) -> Option<DateTime<Utc>> {
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&page.rows).ok()?;
    let text = rows.last()?.get(stream.cursor.as_deref()?)?.as_str()?;
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.to_utc())
}

/// Columns for what the side describes, so that a field without a value yet is there too.
fn describe(sheet: &mut Sheet, schema: &ModuleSchema, closed: bool) {
    for field in schema.fields.iter().filter(|field| field.custom) {
        sheet.labels.insert(field.name.base().to_owned(), field.label.clone());
    }
    if closed {
        return;
    }
    for field in &schema.fields {
        let name = field.name.as_str();
        let has_parts = schema.fields.iter().any(|other| {
            other.name.as_str().strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', '[']))
        });
        if has_parts || name.contains('[') {
            continue;
        }
        if let Some(shape) = Shape::of_kind(field.kind) {
            sheet.column(name, Some(shape));
        }
    }
}

fn chosen(all: &[Stream], wanted: &[String]) -> Result<Vec<Stream>, ServiceError> {
    if wanted.is_empty() {
        return Ok(all.to_vec());
    }
    for name in wanted {
        if !all.iter().any(|stream| stream.name == *name) {
            let names: Vec<_> = all.iter().map(|stream| stream.name.as_str()).collect();
            let nearest =
                crmsync_core::mapping::diagnostic::did_you_mean(name, names.iter().copied());
            let help = nearest.unwrap_or_else(|| format!("streams: {}", names.join(", ")));
            return Err(ServiceError::Config(format!("there is no stream `{name}`; {help}")));
        }
    }
    Ok(all.iter().filter(|stream| wanted.contains(&stream.name)).cloned().collect())
}

/// The account has no such list, or its user may not see it.
const fn is_absent(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Gone
            | ErrorKind::Forbidden(_)
            | ErrorKind::ScopeMissing(_)
            | ErrorKind::UnknownName(_)
            | ErrorKind::Misconfigured(_)
    )
}
