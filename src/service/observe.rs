//! Observing a side: scans, deletion feeds and reads by id, until the store knows what the side shows.
//! Semantics §11; every page is one local transaction, so a scan may stop anywhere.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use crmsync_core::engine::normalize::{match_keys, normalize};
use crmsync_core::model::link::{DeleteEvidence, Deletion};
use crmsync_core::model::record::Presence;
use crmsync_core::model::{Code, Entity, ModuleName, RecordId, RemoteField, RemoteRecord, Side};

use super::error::ServiceError;
use super::identities::KnownIdentities;
use super::run::RunContext;
use crate::connectors::{Connector, ErrorKind, ListRequest, Order, Page, PageKey, Probe};
use crate::store::{
    Absence, Accepted, Canary, Cursor, Dirty, Observed, PageCommit, RouteStore, Scan,
};

/// How often one scan may start again before the run gives up on the side.
const MOST_PASSES: u32 = 5;
/// Listings in a row that may lack a canary which can be read by id: an archive, perhaps.
const MOST_MISSED: u32 = 2;
/// Looks at a canary that cannot be seen while other records can: it is hidden, rather than our rights gone.
const MOST_HIDDEN: u32 = 12;
/// Rows of one second that a canary may bring along with each listing.
const MOST_TIED: usize = 50;
/// Reason under which deletion-feed rows wait for their read by id; together they are strong evidence.
const FROM_FEED: &str = "deleted-feed";

/// One side of one entity, being read.
pub(super) struct Observer<'a> {
    run: &'a RunContext<'a>,
    store: &'a RouteStore,
    entity: &'a Entity,
    side: Side,
    connector: &'a dyn Connector,
    module: &'a ModuleName,
    fields: Vec<RemoteField>,
}

/// How far a listing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// From the watermark.
    Delta,
    /// Everything.
    Full,
}

impl<'a> Observer<'a> {
    pub(super) fn new(
        run: &'a RunContext<'a>,
        store: &'a RouteStore,
        entity: &'a Entity,
        side: Side,
    ) -> Self {
        Self {
            run,
            store,
            entity,
            side,
            connector: run.route.connectors[side].as_ref(),
            module: &entity.modules[side],
            fields: entity.remote_fields(side),
        }
    }

    /// Lists what changed (or everything), reads the deletion feed, then reads every dirty record by id.
    pub(super) async fn observe(&self, extent: Extent) -> Result<Accepted, ServiceError> {
        let mut cursor = self.store.cursor(&self.entity.name, self.side).await?;
        let mut accepted = Accepted::default();
        let whole =
            extent == Extent::Full || !self.capabilities().delta || self.outlasts_evidence(&cursor);
        if whole || !cursor.complete || cursor.scan.is_some() {
            add(&mut accepted, self.full_scan(&mut cursor).await?);
        } else if let Some(delta) = self.delta(&mut cursor).await? {
            add(&mut accepted, delta);
            self.read_deletion_feed(&mut cursor).await?;
        } else {
            cursor = forget_watermarks(&cursor);
            add(&mut accepted, self.full_scan(&mut cursor).await?);
        }
        add(&mut accepted, self.drain_dirty().await?);
        self.look_again(&mut cursor).await?;
        Ok(accepted)
    }

    /// Whether the gap since the last look is longer than half the time for which the side remembers deletions: a
    /// delta could miss some. Semantics §4.
    fn outlasts_evidence(&self, cursor: &Cursor) -> bool {
        let remembered = TimeDelta::from_std(self.capabilities().deletion_retention);
        let gap = cursor.watermark.map(|watermark| self.run.now() - watermark);
        gap.zip(remembered.ok()).is_some_and(|(gap, remembered)| gap > remembered / 2)
    }

    /// Walks the whole module, then what changed meanwhile: semantics §11.4.
    async fn full_scan(&self, cursor: &mut Cursor) -> Result<Accepted, ServiceError> {
        let order =
            if self.capabilities().scan_limit.is_some() { Order::Modified } else { Order::Id };
        let mut scan = cursor.scan.take().unwrap_or_else(|| Scan {
            epoch: cursor.epoch + 1,
            page: None,
            since: None,
            started_at: DateTime::UNIX_EPOCH,
        });
        let (mut accepted, mut restarts, mut newest) = (Accepted::default(), 0, scan.since);
        let mut watch = Watch::on(self.canary(cursor).await?.map(|(canary, _)| canary));
        loop {
            self.run.check_cancelled()?;
            let key = scan.page.clone().map(PageKey);
            let request = self.request(scan.since, order, key.as_ref());
            let page = match self.connector.list(&request).await {
                Ok(page) => page,
                Err(error) if restarts < MOST_PASSES && restarts_scan(&error.kind) => {
                    restarts += 1;
                    scan.page = None;
                    scan.since = if order == Order::Modified { newest } else { None };
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if scan.started_at == DateTime::UNIX_EPOCH {
                scan.started_at = page.server_time.unwrap_or(DateTime::UNIX_EPOCH);
            }
            newest = newest.max(page.records.iter().filter_map(|record| record.modified_at).max());
            watch.look_at(&page);
            scan.page = page.next.as_ref().map(|next| next.0.clone());
            let (done, rows) = (page.next.is_none(), page.records.len());
            cursor.scan = (!done).then(|| scan.clone());
            if done && self.vouches(&watch, cursor).await? {
                cursor.watermark = cursor.watermark.max(Some(started(&scan, newest)));
                cursor.canary = watch.next();
            }
            if done {
                cursor.deleted_watermark = cursor.deleted_watermark.or(cursor.watermark);
            }
            add(
                &mut accepted,
                self.commit_page(page, Some(cursor.clone()), Some(scan.epoch)).await?,
            );
            self.run.progress.advance(rows as u64);
            if done {
                break;
            }
        }
        cursor.epoch = scan.epoch;
        if !self.capabilities().delta {
            // Nothing tells what changed meanwhile; the next run lists everything again.
            return self.finish_scan(cursor, accepted).await;
        }
        let Some(delta) = self.delta(cursor).await? else {
            // The clock steps while we look: the next run reads everything again.
            *cursor = forget_watermarks(cursor);
            self.store.save_cursor(&self.entity.name, self.side, cursor).await?;
            return Ok(accepted);
        };
        add(&mut accepted, delta);
        self.finish_scan(cursor, accepted).await
    }

    async fn finish_scan(
        &self,
        cursor: &mut Cursor,
        accepted: Accepted,
    ) -> Result<Accepted, ServiceError> {
        self.doubt_unseen(cursor.epoch).await?;
        cursor.complete = true;
        self.store.save_cursor(&self.entity.name, self.side, cursor).await?;
        Ok(accepted)
    }

    /// Lists what was modified since the watermark, until a pass meets nothing newer than itself: semantics §11.3.
    /// `None` when the server's clock is behind the watermark (`CLOCK_STEP`): it stepped back, or an answer lied
    /// about the time, and what was stamped in between would never be listed.
    async fn delta(&self, cursor: &mut Cursor) -> Result<Option<Accepted>, ServiceError> {
        let overlap = TimeDelta::seconds(self.run.settings.overlap_seconds);
        let canary = self.canary(cursor).await?.map(|(canary, _)| canary);
        let from = cursor.watermark.map(|watermark| watermark - overlap);
        // The canary costs no call: it comes with the list that is asked for anyway.
        let from = from.map(|from| canary.as_ref().map_or(from, |one| from.min(one.modified_at)));
        let mut accepted = Accepted::default();
        let mut first_answer: Option<DateTime<Utc>> = None;
        for pass in 1.. {
            let (mut since, mut key, mut pages, mut began, mut restarts) =
                (from, None::<PageKey>, 0, None, 0);
            let mut moved_on = false;
            let mut newest = cursor.watermark;
            let mut watch = Watch::on(canary.clone());
            loop {
                self.run.check_cancelled()?;
                let page = match self
                    .connector
                    .list(&self.request(since, Order::Modified, key.as_ref()))
                    .await
                {
                    Ok(page) => page,
                    Err(error) if restarts < MOST_PASSES && restarts_scan(&error.kind) => {
                        restarts += 1;
                        key = None;
                        since = newest.max(since);
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                };
                pages += 1;
                watch.look_at(&page);
                if page.server_time.zip(from).is_some_and(|(now, from)| now < from) {
                    return Ok(None);
                }
                began = began.or(page.server_time);
                newest =
                    newest.max(page.records.iter().filter_map(|record| record.modified_at).max());
                moved_on |= began.is_some_and(|began| newest.is_some_and(|newest| newest > began));
                key.clone_from(&page.next);
                let rows = page.records.len();
                let last = key.is_none();
                let safe = !moved_on || !self.run.settings.safety.repeats_unsafe_scans;
                let clean = last && (pages == 1 || safe || pass >= MOST_PASSES);
                if clean {
                    first_answer = first_answer.or(began);
                    if self.vouches(&watch, cursor).await? {
                        cursor.watermark = cursor.watermark.max(first_answer.or(newest));
                    } else {
                        self.doubt_listing(&watch).await?;
                    }
                    cursor.canary = watch.next();
                }
                add(
                    &mut accepted,
                    self.commit_page(page, clean.then(|| cursor.clone()), None).await?,
                );
                self.run.progress.advance(rows as u64);
                if last {
                    first_answer = first_answer.or(began);
                    if clean {
                        return Ok(Some(accepted));
                    }
                    break;
                }
            }
        }
        Ok(Some(accepted))
    }

    /// The canary and whether it is known to exist, unless it is known to be gone, or stays away from listings
    /// although it can be read.
    async fn canary(&self, cursor: &Cursor) -> Result<Option<(Canary, Presence)>, ServiceError> {
        let Some(canary) = &cursor.canary else { return Ok(None) };
        let ids = BTreeSet::from([canary.id.clone()]);
        let known = self.store.presence(&self.entity.name, self.side, &ids).await?;
        let Some(&(presence, in_scope)) = known.get(&canary.id) else { return Ok(None) };
        let keeps = match presence {
            Presence::Alive => in_scope && canary.missed < MOST_MISSED,
            // Rights may be lost for long: as long as nothing can be seen, nothing is concluded.
            Presence::Invisible => canary.missed < MOST_HIDDEN,
            Presence::Deleted => false,
        };
        Ok(keeps.then(|| (canary.clone(), presence)))
    }

    /// Whether a listing shows that we still see what we saw: by its canary or, without one, by any row at all.
    /// An empty one says nothing about a side that holds records, and must not move the watermark over theirs.
    async fn vouches(&self, watch: &Watch, cursor: &mut Cursor) -> Result<bool, ServiceError> {
        let vouched = match &watch.canary {
            Some(_) => watch.seen,
            None => watch.rows > 0 || self.known(1).await?.is_empty(),
        };
        cursor.blind = !vouched && (cursor.blind || watch.canary.is_some());
        Ok(vouched)
    }

    /// What reading it by id told of a canary that a listing lacked. It may be deleted, and our sight as good as
    /// before; or readable, and only left out of listings; or hidden from us alone among the others.
    async fn look_again(&self, cursor: &mut Cursor) -> Result<(), ServiceError> {
        if !cursor.blind {
            return Ok(());
        }
        let canary = self.canary(cursor).await?;
        let is_there = matches!(canary, Some((_, Presence::Alive)));
        let sees_others = is_there || self.canary_is_readable().await? != Some(false);
        match canary {
            None if sees_others => cursor.blind = false,
            Some((canary, _)) if sees_others => {
                cursor.canary = Some(Canary { missed: canary.missed + 1, ..canary });
            }
            None | Some(_) => return Ok(()),
        }
        Ok(self.store.save_cursor(&self.entity.name, self.side, cursor).await?)
    }

    /// A few of the records that are known to be alive.
    async fn known(&self, most: u64) -> Result<Vec<RecordId>, ServiceError> {
        Ok(self.store.unseen(&self.entity.name, self.side, u64::MAX >> 1, None, most).await?)
    }

    /// A listing without its canary: the canary is read by id, to learn whether it or our sight is gone.
    async fn doubt_listing(&self, watch: &Watch) -> Result<(), ServiceError> {
        if watch.canary.is_none() {
            return Ok(());
        }
        tracing::warn!(side = %self.side, entity = %self.entity.name, "a listing shows less than the last one did");
        let hints: Vec<_> =
            watch.canary.iter().map(|canary| (canary.id.clone(), "canary".to_owned())).collect();
        Ok(self.store.mark_dirty(&self.entity.name, self.side, &hints, self.run.now()).await?)
    }

    /// Lists everything modified since `since` by our clock, without moving the watermark: for recovery.
    pub(super) async fn scan_since(&self, since: DateTime<Utc>) -> Result<(), ServiceError> {
        let (mut key, mut since, mut restarts, mut clock_known) =
            (None::<PageKey>, since, 0, false);
        loop {
            let page = match self
                .connector
                .list(&self.request(Some(since), Order::Modified, key.as_ref()))
                .await
            {
                Ok(page) => page,
                Err(error) if restarts < MOST_PASSES && restarts_scan(&error.kind) => {
                    restarts += 1;
                    key = None;
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let error =
                page.server_time.map_or(TimeDelta::zero(), |server| server - page.received_at);
            if !clock_known && error < -TimeDelta::seconds(self.run.settings.overlap_seconds / 2) {
                // The server's clock is behind ours: what it stamped after our `since` looks older to us.
                clock_known = true;
                since += error;
                continue;
            }
            clock_known = true;
            key.clone_from(&page.next);
            self.commit_page(page, None, None).await?;
            if key.is_none() {
                return Ok(());
            }
        }
    }

    /// Marks known records that the side's deletion feed names: hints until a read by id finds nothing.
    async fn read_deletion_feed(&self, cursor: &mut Cursor) -> Result<(), ServiceError> {
        if !self.capabilities().deletion_feed {
            return Ok(());
        }
        let overlap = TimeDelta::seconds(self.run.settings.overlap_seconds);
        let Some(since) = cursor.deleted_watermark.or(cursor.watermark).map(|at| at - overlap)
        else {
            return Ok(());
        };
        let (mut key, mut began) = (None, None);
        loop {
            let page = self.connector.deleted(self.module, since, key.as_ref()).await?;
            began = began.or(page.server_time);
            let ids: BTreeSet<_> = page.rows.iter().map(|row| row.id.clone()).collect();
            let known = self.store.presence(&self.entity.name, self.side, &ids).await?;
            let alive =
                known.into_iter().filter(|(_, (presence, _))| *presence != Presence::Deleted);
            let hints: Vec<_> = alive.map(|(id, _)| (id, FROM_FEED.to_owned())).collect();
            if !hints.is_empty() {
                self.store.mark_dirty(&self.entity.name, self.side, &hints, self.run.now()).await?;
            }
            key = page.next;
            if key.is_none() {
                break;
            }
        }
        // Not the greater of both: a time that was wrong once must not hide deletions for good.
        cursor.deleted_watermark = began.or(cursor.deleted_watermark);
        self.store.save_cursor(&self.entity.name, self.side, cursor).await?;
        Ok(())
    }

    /// Known records that a complete listing did not show: absence proves nothing, so they are read by id.
    async fn doubt_unseen(&self, epoch: u64) -> Result<(), ServiceError> {
        let mut after: Option<RecordId> = None;
        loop {
            let unseen = self
                .store
                .unseen(&self.entity.name, self.side, epoch, after.as_ref(), 1_000)
                .await?;
            let Some(last) = unseen.last() else { return Ok(()) };
            after = Some(last.clone());
            let hints: Vec<_> =
                unseen.into_iter().map(|id| (id, "absent-from-listing".to_owned())).collect();
            self.store.mark_dirty(&self.entity.name, self.side, &hints, self.run.now()).await?;
        }
    }

    /// Reads every due dirty record by id.
    pub(super) async fn drain_dirty(&self) -> Result<Accepted, ServiceError> {
        let mut accepted = Accepted::default();
        let batch = self.capabilities().fetch_batch.max(1);
        loop {
            self.run.check_cancelled()?;
            let due = self
                .store
                .dirty(&self.entity.name, self.side, self.run.now(), batch as u64)
                .await?;
            if due.is_empty() {
                return Ok(accepted);
            }
            add(&mut accepted, self.read_by_id(&due).await?);
        }
    }

    async fn read_by_id(&self, due: &[Dirty]) -> Result<Accepted, ServiceError> {
        let ids: Vec<_> = due.iter().map(|dirty| dirty.id.clone()).collect();
        let page = self.connector.fetch(self.module, &ids, &self.fields).await?;
        let unreadable: BTreeSet<_> =
            page.undecodable.iter().filter_map(|row| row.id.clone()).collect();
        let present: BTreeSet<_> = page.records.iter().map(|record| record.id.clone()).collect();
        let clean: Vec<_> = present.iter().cloned().collect();
        let accepted = self.commit_authoritative(page, clean).await?;
        let mut absences = Vec::new();
        for dirty in due.iter().filter(|dirty| !present.contains(&dirty.id)) {
            let absence = if unreadable.contains(&dirty.id) {
                Some(self.retry_later(dirty, Code::ReadError))
            } else if dirty.reason == FROM_FEED {
                Some(deletion(self.side, &dirty.id, DeleteEvidence::Strong, None, None))
            } else {
                self.probe(dirty).await?
            };
            absences.extend(absence);
        }
        let now = self.run.now();
        self.store
            .record_absences(&self.entity.name, self.side, self.module, &absences, now)
            .await?;
        Ok(accepted)
    }

    /// Finds out what became of a record that a read by ids left out; `None` when it is there after all.
    async fn probe(&self, dirty: &Dirty) -> Result<Option<Absence>, ServiceError> {
        Ok(match self.connector.probe(self.module, &dirty.id, &self.fields).await? {
            Probe::Present(record) => {
                let page = self.page_of(vec![*record]);
                self.commit_authoritative(page, vec![dirty.id.clone()]).await?;
                None
            }
            Probe::Deleted { merged_into, converted_to, .. } => Some(deletion(
                self.side,
                &dirty.id,
                DeleteEvidence::Strong,
                merged_into,
                converted_to,
            )),
            Probe::Forbidden => Some(self.retry_later(dirty, Code::Forbidden)),
            Probe::NotFound => Some(self.weigh_absence(dirty).await?),
            Probe::Unknown(_) => Some(self.retry_later(dirty, Code::ReadError)),
        })
    }

    /// Weak evidence: a second probe `H` after the first one, with a readable canary, by a user who sees all records.
    async fn weigh_absence(&self, dirty: &Dirty) -> Result<Absence, ServiceError> {
        let now = self.run.now();
        let settled =
            dirty.missing_since.is_some_and(|first| now - first >= self.run.settings.settle);
        let sees_all = self.run.route.accounts[self.side].sees_all;
        if settled && sees_all && self.canary_is_readable().await? == Some(true) {
            return Ok(deletion(self.side, &dirty.id, DeleteEvidence::Weak, None, None));
        }
        let missing_since = dirty.missing_since.or(Some(now));
        let next_at = now.max(missing_since.unwrap_or(now) + self.run.settings.settle);
        let next_at = if settled { now + self.run.settings.settle } else { next_at };
        Ok(Absence::Unknown {
            id: dirty.id.clone(),
            code: Code::UnconfirmedAbsence,
            next_at,
            missing_since,
        })
    }

    /// Whether the configured record, or another known one, is readable: without it, nothing is inferred from
    /// absence. `None` when nothing is known that could be read.
    pub(super) async fn canary_is_readable(&self) -> Result<Option<bool>, ServiceError> {
        let canaries = match &self.entity.canaries[self.side] {
            Some(canary) => vec![canary.clone()],
            None => self.known(5).await?,
        };
        if canaries.is_empty() {
            return Ok(None);
        }
        let page = self.connector.fetch(self.module, &canaries, &self.fields).await?;
        Ok(Some(!page.records.is_empty()))
    }

    fn retry_later(&self, dirty: &Dirty, code: Code) -> Absence {
        let minutes = i64::from(2_u32.saturating_pow(dirty.attempts.min(10)));
        let next_at = self.run.now() + TimeDelta::minutes(minutes.min(24 * 60));
        Absence::Unknown { id: dirty.id.clone(), code, next_at, missing_since: None }
    }

    async fn commit_authoritative(
        &self,
        page: Page,
        clean: Vec<RecordId>,
    ) -> Result<Accepted, ServiceError> {
        let observed = self.observed(&page).await?;
        let commit = PageCommit { observed, clean, authoritative: true, ..self.empty_commit() };
        Ok(self.store.commit_page(commit).await?)
    }

    async fn commit_page(
        &self,
        page: Page,
        cursor: Option<Cursor>,
        epoch: Option<u64>,
    ) -> Result<Accepted, ServiceError> {
        let observed = self.observed(&page).await?;
        let unreadable = page.undecodable.into_iter().filter_map(|row| Some((row.id?, row.reason)));
        let dirty = unreadable.map(|(id, reason)| (id, format!("undecodable: {reason}"))).collect();
        Ok(self
            .store
            .commit_page(PageCommit {
                observed,
                dirty,
                cursor,
                epoch,
                authoritative: !self.run.settings.safety.doubts_listed_rows,
                ..self.empty_commit()
            })
            .await?)
    }

    /// Normal forms and match keys of a page.
    pub(super) async fn observed(&self, page: &Page) -> Result<Vec<Observed>, ServiceError> {
        let clock_error = page.server_time.map(|server| server - page.received_at);
        let normal = |record: &RemoteRecord| normalize(self.entity, self.side, record, clock_error);
        let observations: Vec<_> = page.records.iter().map(normal).collect();
        let identities = KnownIdentities::of_page(self.store, self.entity, &observations).await?;
        let with_keys = observations.into_iter().map(|observation| {
            let keys = match_keys(self.entity, &observation, &identities);
            Observed { observation, keys }
        });
        Ok(with_keys.collect())
    }

    fn empty_commit(&self) -> PageCommit<'_> {
        PageCommit {
            entity: &self.entity.name,
            side: self.side,
            module: self.module,
            observed: Vec::new(),
            dirty: Vec::new(),
            clean: Vec::new(),
            cursor: None,
            authoritative: false,
            epoch: None,
            now: self.run.now(),
        }
    }

    fn page_of(&self, records: Vec<RemoteRecord>) -> Page {
        Page { records, received_at: self.run.now(), ..Page::default() }
    }

    fn request<'r>(
        &'r self,
        since: Option<DateTime<Utc>>,
        order: Order,
        page: Option<&'r PageKey>,
    ) -> ListRequest<'r> {
        ListRequest { module: self.module, fields: &self.fields, since, order, page }
    }

    fn capabilities(&self) -> crate::connectors::Capabilities {
        self.connector.capabilities(self.module)
    }
}

/// What one pass over a listing shows of its canary, and who could be the next one.
struct Watch {
    canary: Option<Canary>,
    seen: bool,
    /// Rows shown, the unreadable ones too.
    rows: usize,
    tip: Option<Canary>,
    /// Rows stamped as late as the tip.
    tied: usize,
}

impl Watch {
    const fn on(canary: Option<Canary>) -> Self {
        Self { canary, seen: false, rows: 0, tip: None, tied: 0 }
    }

    fn look_at(&mut self, page: &Page) {
        let undecodable = page.undecodable.iter().filter_map(|row| row.id.as_ref());
        let mut listed = page.records.iter().map(|record| &record.id).chain(undecodable);
        let canary = self.canary.as_ref().map(|canary| &canary.id);
        self.rows += page.records.len() + page.undecodable.len();
        self.seen |= canary.is_some_and(|canary| listed.any(|id| id == canary));
        for record in &page.records {
            let Some(modified_at) = record.modified_at else { continue };
            let newest = self.tip.as_ref().map(|tip| tip.modified_at);
            if newest == Some(modified_at) {
                self.tied += 1;
            } else if newest.is_none_or(|newest| newest < modified_at) {
                self.tip = Some(Canary { id: record.id.clone(), modified_at, missed: 0 });
                self.tied = 1;
            }
        }
    }

    /// The newest row that was seen, unless an import stamped so many alike that each listing would bring them all.
    fn next(&self) -> Option<Canary> {
        match &self.canary {
            Some(canary) if !self.seen => Some(canary.clone()),
            Some(_) | None => self.tip.clone().filter(|_| self.tied <= MOST_TIED),
        }
    }
}

fn deletion(
    side: Side,
    id: &RecordId,
    evidence: DeleteEvidence,
    merged_into: Option<RecordId>,
    converted_to: Option<RecordId>,
) -> Absence {
    Absence::Deleted(Deletion { side, id: id.clone(), evidence, merged_into, converted_to })
}

/// Watermarks ahead of the server's clock prove nothing: everything is read again.
fn forget_watermarks(cursor: &Cursor) -> Cursor {
    tracing::warn!(code = %Code::ClockStep, "the side's clock is behind its last answer; reading everything again");
    Cursor {
        watermark: None,
        deleted_watermark: None,
        complete: false,
        scan: None,
        epoch: cursor.epoch,
        canary: None,
        blind: cursor.blind,
    }
}

/// Server time at the scan's start, or the newest change seen where the side sends no `Date`.
fn started(scan: &Scan, newest: Option<DateTime<Utc>>) -> DateTime<Utc> {
    if scan.started_at == DateTime::UNIX_EPOCH {
        newest.unwrap_or(scan.started_at)
    } else {
        scan.started_at
    }
}

const fn restarts_scan(kind: &ErrorKind) -> bool {
    matches!(kind, ErrorKind::PageExpired | ErrorKind::ScanLimit)
}

fn add(total: &mut Accepted, page: Accepted) {
    total.changed += page.changed;
    total.unchanged += page.unchanged;
    total.stale += page.stale;
    total.unstamped += page.unstamped;
}
