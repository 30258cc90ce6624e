//! What Zoho says about itself.

use crmsync::connectors::PastChange;
use crmsync::connectors::zoho::region_hosts;

use super::*;

#[tokio::test]
async fn given_the_external_id_field_when_installed_twice_then_it_is_there_once_and_unique() {
    let world = ZohoWorld::start().await;
    let module = ModuleName::from("Deals");

    let first = world.connector.install_external_id(&module, "Pipedrive ID").await.unwrap();
    let second = world.connector.install_external_id(&module, "Pipedrive ID").await.unwrap();

    assert_eq!((first.as_str(), &first), ("Pipedrive_ID", &second));
    let schema = world.connector.describe(&module).await.unwrap();
    let fields: Vec<_> = schema.fields.iter().filter(|field| field.name == first).collect();
    assert_eq!(fields.len(), 1);
    assert!(fields[0].unique && fields[0].custom && fields[0].writable_on_create);
}

#[tokio::test]
async fn given_metadata_when_described_then_kinds_options_and_targets_are_told() {
    let world = ZohoWorld::start().await;

    let deals = world.connector.describe(&"Deals".into()).await.unwrap();
    let notes = world.connector.describe(&"Notes".into()).await.unwrap();

    let field = |name: &str| deals.fields.iter().find(|field| field.name.as_str() == name).unwrap();
    assert_eq!(field("Amount").kind, FieldKind::Money);
    assert_eq!(field("Account_Name").target, Some("Accounts".into()));
    assert!(field("Deal_Name").required && !field("Deal_Name").unique);
    assert!(!field("Expected_Revenue").writable_on_update);
    let stages: Vec<_> =
        field("Stage").options.iter().map(|option| option.label.as_str()).collect();
    assert!(stages.contains(&"Closed Won") && !stages.contains(&"-None-"), "{stages:?}");
    let parent = notes.fields.iter().find(|field| field.name.as_str() == "Parent_Id.Contacts");
    let parent = parent.unwrap();
    assert!(parent.writable_on_create && !parent.writable_on_update);
}

#[tokio::test]
async fn given_a_field_added_meanwhile_when_metadata_is_forgotten_then_it_shows() {
    let world = ZohoWorld::start().await;
    let module = ModuleName::from("Deals");
    let knows = async || {
        let schema = world.connector.describe(&module).await.unwrap();
        schema.fields.iter().any(|field| field.name.as_str() == "Fresh")
    };
    assert!(!knows().await);
    world.server.add_field("Deals", Field::new("Fresh", FieldType::Text));

    assert!(!knows().await);

    world.connector.forget_metadata();
    assert!(knows().await);
}

#[tokio::test]
async fn given_the_organization_when_asked_then_people_recognize_it() {
    let world = ZohoWorld::start().await;

    let account = world.connector.account().await.unwrap();
    let modules = world.connector.modules().await.unwrap();
    let users = world.connector.users().await.unwrap();

    assert_eq!(account.organization, "Example GmbH");
    assert_eq!((account.plan.as_str(), account.currency.as_deref()), ("enterprise", Some("EUR")));
    assert_eq!(account.time_zone, Some(chrono_tz::Europe::Berlin));
    assert!(account.warnings.is_empty(), "{:?}", account.warnings);
    assert!(modules.iter().any(|(name, _)| name.as_str() == "Contacts"));
    assert!(users.iter().any(|user| user.active && account.user.contains(&user.email)));
}

#[tokio::test]
async fn given_a_field_edit_when_history_is_asked_then_its_own_time_and_values_are_told() {
    let world = ZohoWorld::start().await;
    let id = world.add("Ada");
    world.wait(60);
    world.server.edit("Contacts", number(&id), json!({ "Department": "Sales" }));
    let edited_at = world.clock.now();
    world.wait(60);
    world.edit(&id, "Adele");

    let field: RemoteField = "Department".into();
    let asked = std::slice::from_ref(&field);
    let history = world.connector.history(&"Contacts".into(), &id, asked).await.unwrap().unwrap();

    let (before, after) = (Some(Value::Empty), Some(Value::text("Sales")));
    assert_eq!(history.changes, [PastChange { field, at: edited_at, before, after }]);
}

#[tokio::test]
async fn given_a_record_when_linked_to_then_the_address_is_the_configured_one() {
    let world = ZohoWorld::with(|settings| {
        settings.record_url = Some("https://crm.example/{tab}/{id}".into());
    })
    .await;

    let url = world.connector.record_url(&"Deals".into(), &"17".into());

    assert_eq!(url.as_deref(), Some("https://crm.example/Potentials/17"));
}

#[tokio::test]
async fn given_a_region_when_linked_to_then_the_address_is_that_data_centers() {
    tls();
    let oauth = OauthClient {
        accounts_url: region_hosts("eu").unwrap().accounts.parse().unwrap(),
        client_id: "1000.X".into(),
        client_secret: "secret".to_owned().into(),
        pinning: Pinning::Vendor,
    };
    let settings = Settings::new("zoho", oauth, "token".to_owned().into(), 7);
    let zoho = Zoho::connect(settings, Clock::new(|| DateTime::UNIX_EPOCH)).unwrap();

    let url = zoho.record_url(&"Sales_Orders".into(), &"17".into());

    assert_eq!(url.as_deref(), Some("https://crm.zoho.eu/crm/tab/SalesOrders/17"));
}

#[tokio::test]
async fn given_metadata_needed_by_many_when_described_then_it_is_read_once_an_hour() {
    let world = ZohoWorld::start().await;
    let module = ModuleName::from("Contacts");
    let reads = || {
        let entries = world.traffic().entries();
        let is_read = |path: &str, status| path == "/crm/v8/settings/fields" && status == 200;
        entries.iter().filter(|entry| is_read(&entry.path, entry.status)).count()
    };

    futures_util::future::join_all((0..8).map(|_| world.connector.describe(&module))).await;
    assert_eq!(reads(), 1);

    world.clock.advance(TimeDelta::minutes(61));
    world.connector.describe(&module).await.unwrap();
    assert_eq!(reads(), 2);
}
