//! Pipedrive against its simulator: the common suite, then what only this side has.

mod desk;
mod failing;
mod posting;
mod reading;
mod signing_in;
mod surviving;
mod writing;

use crmsync::connectors::Connector;
use crmsync_core::model::{ModuleName, RecordId, RemoteField};
use crmsync_simulator::fault::Faults;
use crmsync_simulator::host::Service;
use crmsync_simulator::traffic::Traffic;
use serde_json::json;

use self::desk::Desk;
use super::World;

struct Persons {
    desk: Desk,
    note: RemoteField,
    external_id: RemoteField,
}

async fn start() -> Persons {
    let desk = Desk::with(
        |_| {},
        |settings| {
            settings.page = 2;
            settings.max_answer = 1 << 20;
        },
    )
    .await;
    let note = desk.server.add_field("persons", "Note", "varchar", &[]);
    let external_id = desk.server.add_field("persons", "Zoho ID", "varchar", &[]);
    Persons { desk, note: RemoteField::new(note), external_id: RemoteField::new(external_id) }
}

fn number(id: &RecordId) -> i64 {
    id.as_str().parse().unwrap()
}

impl World for Persons {
    fn connector(&self) -> &dyn Connector {
        &self.desk.side
    }

    fn module(&self) -> ModuleName {
        "persons".into()
    }

    fn name(&self) -> RemoteField {
        "name".into()
    }

    fn note(&self) -> RemoteField {
        self.note.clone()
    }

    fn external_id(&self) -> RemoteField {
        self.external_id.clone()
    }

    fn add(&self, name: &str) -> RecordId {
        let id = self.desk.server.add("persons", json!({ "name": name }));
        self.wait(1);
        desk::id_of(id)
    }

    fn edit(&self, id: &RecordId, name: &str) {
        self.desk.server.edit("persons", number(id), json!({ "name": name }));
    }

    fn delete(&self, id: &RecordId) {
        self.desk.server.delete("persons", number(id));
    }

    fn names(&self) -> Vec<String> {
        let all = self.desk.server.all("persons").into_iter();
        let mut names: Vec<_> = all.map(|row| row["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    fn wait(&self, seconds: i64) {
        self.desk.pass(seconds);
    }

    fn faults(&self) -> &Faults {
        self.desk.faults()
    }

    fn traffic(&self) -> &Traffic {
        self.desk.server.traffic()
    }

    fn list_call(&self) -> String {
        "GET /api/v2/persons".into()
    }

    fn create_call(&self) -> String {
        "POST /api/v2/persons".into()
    }

    fn update_call(&self) -> String {
        "PATCH /api/v2/persons".into()
    }
}

super::conformance!(start);
