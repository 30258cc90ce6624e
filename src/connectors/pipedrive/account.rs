//! Who is signed in, who owns records, and what the modules look like.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::TimeDelta;
use crmsync_core::model::schema::{ModuleSchema, User};
use serde_json::Value as Json;

use super::super::{Account, ErrorKind};
use super::module::Module;
use super::schema::{self, Pickers, Shapes};
use super::wire;
use super::{Known, Pipedrive};

const ME_UNITS: u64 = 2;
const FIELDS_UNITS: u64 = 10;
const PIPELINES_UNITS: u64 = 5;
const LEAD_LABELS_UNITS: u64 = 10;
/// Users, currencies, activity types.
const V1_LIST_UNITS: u64 = 20;

impl Pipedrive {
    pub(super) async fn read_account(&self) -> Result<Account, ErrorKind> {
        let reply = self.client.get("/api/v1/users/me", &[], ME_UNITS).await?;
        let me: wire::UserRow = serde_json::from_value(reply.data)
            .map_err(|error| ErrorKind::Undecodable(format!("the API user: {error}")))?;
        let organization =
            me.company_name.clone().or_else(|| me.company_domain.clone()).unwrap_or_default();
        Ok(Account {
            user: named(&me),
            organization,
            plan: String::new(),
            time_zone: me.timezone_name.as_deref().and_then(|zone| zone.parse().ok()),
            currency: me.default_currency.clone(),
            sees_all: me.is_admin(),
            warnings: self.warnings(&me),
            fingerprint: format!("{}:{}", id_text(&me.company_id), id_text(&me.id)),
        })
    }

    fn warnings(&self, me: &wire::UserRow) -> Vec<String> {
        let mut warnings = Vec::new();
        if !me.is_admin() {
            warnings.push(
                "the API user is not an admin: records it may not see are missing here and cannot be told from \
                 deleted ones"
                    .to_owned(),
            );
        }
        if me.timezone_name.is_none() {
            warnings.push("the API user has no time zone: times are shown in UTC".to_owned());
        }
        let domain = me.company_domain.as_deref();
        if let (Some(domain), Some(company)) = (domain, self.settings.company.as_deref())
            && domain != company
        {
            warnings
                .push(format!("the token belongs to the company `{domain}`, not to `{company}`"));
        }
        warnings
    }

    /// All users, the deactivated ones too: records still name them.
    pub(super) async fn read_users(&self) -> Result<Vec<User>, ErrorKind> {
        let rows: Vec<wire::UserRow> = self.client.get_list("/api/v1/users", V1_LIST_UNITS).await?;
        let user = |row: wire::UserRow| User {
            id: id_text(&row.id),
            name: row.name.unwrap_or_default(),
            email: row.email.unwrap_or_default(),
            active: row.active_flag.unwrap_or(true),
        };
        Ok(rows.into_iter().map(user).collect())
    }

    /// The module as described within the metadata's lifetime, else read again.
    pub(super) async fn fresh_shapes(
        &self,
        module: &'static Module,
    ) -> Result<Arc<Shapes>, ErrorKind> {
        let mut known = self.known.lock().await;
        let lifetime = self.settings.metadata_cache.unwrap_or_default();
        let lifetime = TimeDelta::from_std(lifetime).unwrap_or(TimeDelta::MAX);
        let (read_at, generation) = (self.client.now(), self.generation.load(Ordering::Relaxed));
        if let Some(known) = known.get(module.name)
            && known.generation == generation
            && read_at - known.read_at < lifetime
        {
            return Ok(Arc::clone(&known.shapes));
        }
        let shapes = Arc::new(Shapes::new(module, self.read_schema(module).await?));
        known.insert(module.name, Known { read_at, generation, shapes: Arc::clone(&shapes) });
        Ok(shapes)
    }

    /// The module as last described, whenever that was: codes and types of fields never change.
    pub(super) async fn shapes(&self, module: &'static Module) -> Result<Arc<Shapes>, ErrorKind> {
        if let Some(known) = self.known.lock().await.get(module.name) {
            return Ok(Arc::clone(&known.shapes));
        }
        self.fresh_shapes(module).await
    }

    /// Modules that share field lists are forgotten together: leads use the deals'.
    pub(super) async fn forget(&self, module: &Module) {
        let mut known = self.known.lock().await;
        known.retain(|_, known| known.shapes.module.fields_path != module.fields_path);
    }

    async fn read_schema(&self, module: &'static Module) -> Result<ModuleSchema, ErrorKind> {
        let listed: Vec<wire::Field> = match module.fields_path {
            Some(path) => match self.client.get_all(path, FIELDS_UNITS).await {
                // Activity fields need a right that reading activities does not; the table knows them all.
                Err(ErrorKind::ScopeMissing(_) | ErrorKind::Forbidden(_))
                    if !module.custom_fields =>
                {
                    Vec::new()
                }
                other => other?,
            },
            None => Vec::new(),
        };
        Ok(schema::assemble(module, &listed, &self.read_pickers(module).await?))
    }

    async fn read_pickers(&self, module: &Module) -> Result<Pickers, ErrorKind> {
        let mut pickers = Pickers::default();
        match module.name {
            "deals" => {
                pickers.pipelines =
                    self.client.get_all("/api/v2/pipelines", PIPELINES_UNITS).await?;
                pickers.stages = self.client.get_all("/api/v2/stages", PIPELINES_UNITS).await?;
            }
            "leads" => {
                pickers.lead_labels =
                    self.client.get_list("/api/v1/leadLabels", LEAD_LABELS_UNITS).await?;
            }
            "activities" => {
                let types: Vec<wire::ActivityType> =
                    self.client.get_list("/api/v1/activityTypes", V1_LIST_UNITS).await?;
                pickers.activity_types =
                    types.into_iter().filter(|row| row.active_flag != Some(false)).collect();
            }
            _ => {}
        }
        if matches!(module.name, "deals" | "leads" | "products") {
            pickers.currencies = self.currencies().await?;
        }
        Ok(pickers)
    }

    /// Active currencies, read once: they are the vendor's list, not the account's.
    async fn currencies(&self) -> Result<Vec<wire::Currency>, ErrorKind> {
        let read = || async {
            let rows: Vec<wire::Currency> =
                self.client.get_list("/api/v1/currencies", V1_LIST_UNITS).await?;
            Ok(rows.into_iter().filter(|row| row.active_flag != Some(false)).collect())
        };
        self.currencies.get_or_try_init(read).await.cloned()
    }
}

fn named(me: &wire::UserRow) -> String {
    let name = me.name.clone().unwrap_or_default();
    match &me.email {
        Some(email) => format!("{name} <{email}>").trim().to_owned(),
        None => name,
    }
}

fn id_text(id: &Json) -> String {
    match id {
        Json::String(text) => text.clone(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => {
            id.to_string()
        }
    }
}
