//! Both simulators with a company each, and a configuration that points at them: what `demo` and `sandbox` run on.
//!
//! Nothing here knows the sync. Read `companies.rs` for who works there.

pub mod companies;

use std::io;
use std::path::Path;
use std::sync::Arc;

use crmsync_simulator::clock::Clock;
use crmsync_simulator::host::{Host, Service};
use crmsync_simulator::pipedrive::{self, Pipedrive};
use crmsync_simulator::traffic::Traffic;
use crmsync_simulator::zoho::{self, Field, FieldType, Zoho};
use tokio_util::task::AbortOnDropHandle;

/// Label of the field that names a record's counterpart, on either side.
const ZOHO_EXTERNAL_ID: &str = "Pipedrive_ID";
const PIPEDRIVE_EXTERNAL_ID: &str = "Zoho ID";

/// Two simulated CRMs on loopback; they stop when dropped.
pub struct Sandbox {
    pub zoho: Arc<Zoho>,
    pub pipedrive: Arc<Pipedrive>,
    zoho_host: Host,
    pipedrive_host: Host,
    posting: Vec<AbortOnDropHandle<()>>,
}

/// Where the simulators listen; 0 picks a free port.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ports {
    pub zoho: u16,
    pub pipedrive: u16,
}

impl Sandbox {
    /// Starts both simulators without records, with our external-ID fields in place.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn start(clock: &Clock, seed: u64, ports: Ports) -> io::Result<Self> {
        Self::start_with_clocks(clock, clock, seed, ports).await
    }

    /// Starts both simulators, each with a clock of its own.
    ///
    /// # Errors
    /// When a port is taken.
    pub async fn start_with_clocks(
        zoho_clock: &Clock,
        pipedrive_clock: &Clock,
        seed: u64,
        ports: Ports,
    ) -> io::Result<Self> {
        let (zoho, pipedrive) = two_companies(zoho_clock, pipedrive_clock, seed);
        let zoho_host = Host::start(Arc::clone(&zoho) as Arc<dyn Service>, ports.zoho).await?;
        let pipedrive_host =
            Host::start(Arc::clone(&pipedrive) as Arc<dyn Service>, ports.pipedrive).await?;
        Ok(Self { zoho, pipedrive, zoho_host, pipedrive_host, posting: Vec::new() })
    }

    pub fn zoho_url(&self) -> String {
        self.zoho_host.url()
    }

    pub fn pipedrive_url(&self) -> String {
        self.pipedrive_host.url()
    }

    /// Posts webhooks from now on, until the sandbox is dropped.
    pub fn deliver(&mut self) {
        let client = reqwest::Client::new();
        self.posting.push(AbortOnDropHandle::new(tokio::spawn(
            Arc::clone(&self.zoho).deliver(client.clone()),
        )));
        self.posting.push(AbortOnDropHandle::new(tokio::spawn(
            Arc::clone(&self.pipedrive).deliver(client),
        )));
    }

    pub fn traffic(&self) -> [(&'static str, &Traffic); 2] {
        [("zoho", self.zoho.traffic()), ("pipedrive", self.pipedrive.traffic())]
    }

    /// A `crmsync.toml` whose connections lead to the simulators; secrets stand in plain text, being worthless.
    pub fn config(&self, store_url: &str, mappings: &Path) -> String {
        let urls = [self.zoho_url(), self.pipedrive_url()];
        config(
            &self.zoho,
            &self.pipedrive,
            urls.each_ref().map(String::as_str),
            store_url,
            mappings,
        )
    }
}

/// Both CRMs without records, with our external-ID fields in place, listening nowhere.
pub fn two_companies(
    zoho_clock: &Clock,
    pipedrive_clock: &Clock,
    seed: u64,
) -> (Arc<Zoho>, Arc<Pipedrive>) {
    let zoho = Arc::new(Zoho::new(zoho::Settings::new(zoho_clock.clone(), seed)));
    let settings = pipedrive::Settings::new(pipedrive_clock.clone(), seed);
    let pipedrive = Arc::new(Pipedrive::new(settings));
    for module in ["Accounts", "Contacts", "Deals", "Products", "Tasks"] {
        let field = Field::new(ZOHO_EXTERNAL_ID, FieldType::Text).with_length(100).with_unique();
        zoho.add_field(module, field);
    }
    for entity in ["organizations", "persons", "deals", "products"] {
        pipedrive.add_field(entity, PIPEDRIVE_EXTERNAL_ID, "varchar", &[]);
    }
    // Owners are matched by e-mail: everyone works in both systems, and one person owns what both companies know.
    let sales = zoho.add_user(zoho::User::new(
        "Sales",
        "Team",
        "sales@example.com",
        chrono_tz::Europe::Tallinn,
    ));
    zoho.act_as(sales);
    pipedrive.add_user("Ann Admin", "ann@example.com", "Europe/Berlin");
    pipedrive.add_user("Sync Robot", "robot@example.com", "Europe/Berlin");
    (zoho, pipedrive)
}

/// A `crmsync.toml` whose connections lead to both CRMs at `urls`, Zoho's first.
pub fn config(
    zoho: &Zoho,
    pipedrive: &Pipedrive,
    urls: [&str; 2],
    store_url: &str,
    mappings: &Path,
) -> String {
    let client = zoho::Client::default();
    let refresh = zoho.refresh_token("ZohoCRM.modules.ALL,ZohoCRM.settings.ALL,ZohoCRM.users.ALL,ZohoCRM.org.ALL,ZohoCRM.coql.READ,ZohoCRM.notifications.ALL,ZohoCRM.bulk.ALL,ZohoCRM.files.ALL,ZohoSearch.securesearch.READ");
    format!(
        "# Two simulated CRMs on this machine, as long as they are served.\n\
         [store]\nurl = \"{store_url}\"\nkey = {{ env = \"CRMSYNC_KEY\" }}\n\n\
         [connections.zoho]\ntype = \"zoho\"\nclient_id = \"{id}\"\nclient_secret = \"{secret}\"\n\
         refresh_token = \"{refresh}\"\naccounts_url = \"{zoho_url}\"\napi_url = \"{zoho_url}\"\n\n\
         [connections.pipedrive]\ntype = \"pipedrive\"\ncompany = \"acme\"\napi_token = \"{token}\"\napi_url = \"{pipedrive_url}\"\n\n\
         [routes.crm]\nleft = \"zoho\"\nright = \"pipedrive\"\nmappings = \"{mappings}\"\n",
        id = client.id,
        secret = client.secret,
        zoho_url = urls[0],
        token = pipedrive.api_token(),
        pipedrive_url = urls[1],
        mappings = mappings.display(),
    )
}
