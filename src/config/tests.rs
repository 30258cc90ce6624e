//! Configurations as people write them, and what they are told.

use std::path::Path;

use secrecy::ExposeSecret;

use super::*;

const WHOLE: &str = r#"
[store]
url = "sqlite://crmsync.db"
key = { env = "CRMSYNC_KEY" }

[connections.zoho]
type = "zoho"
region = "eu"
environment = "sandbox"
api_version = "v8"
client_id = "1000.XYZ"
client_secret = { env = "ZOHO_CLIENT_SECRET" }
read_with = "auto"
metadata_cache = "1d"
budget = { share = 0.5 }
api_url = "http://127.0.0.1:4711/"

[connections.pipedrive]
type = "pipedrive"
company = "acme"
api_token = { env = "PIPEDRIVE_API_TOKEN" }

[connections.warehouse]
type = "sql"
url = { env = "WAREHOUSE_URL" }
schema = "crm"

[routes.crm]
left = "zoho"
right = "pipedrive"
mappings = "mappings/zoho-pipedrive"
every = "5m"

[replications.pipedrive]
from = "pipedrive"
to = "warehouse"
streams = ["deals", "persons"]
start_date = "01/31/2024"
deletes = "hard"
every = "15m"

[sync]
settle = "90s"
"#;

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment::new(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
}

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::parse(Path::new("crmsync.toml"), text, &environment(variables))
}

fn zoho(config: &Config) -> &Zoho {
    match &config.connections["zoho"] {
        Connection::Zoho(zoho) => zoho,
        Connection::Pipedrive(_) | Connection::Sql(_) => panic!("`zoho` is a Zoho connection"),
    }
}

#[test]
fn given_every_table_when_parsed_then_each_value_arrives() {
    let config = parse(WHOLE, &[("ZOHO_CLIENT_SECRET", "s3cret")]).expect("a valid file");

    let zoho = zoho(&config);
    assert_eq!(zoho.region, Some(Region::Eu));
    assert_eq!(zoho.environment, ZohoEnvironment::Sandbox);
    assert_eq!(zoho.shared.metadata_cache, Lifetime::For(Duration::from_hours(24)));
    assert_eq!(zoho.shared.budget, Budget { share: 0.5, daily: None });
    assert_eq!(zoho.api_url.as_deref(), Some("http://127.0.0.1:4711"));
    assert_eq!(zoho.client_secret.reveal().expect("set").expose_secret(), "s3cret");
    let route = &config.routes["crm"];
    assert_eq!((route.sides.left.as_str(), route.sides.right.as_str()), ("zoho", "pipedrive"));
    assert_eq!(route.schedule, Some(Schedule::Every(Duration::from_mins(5))));
    let replication = &config.replications["pipedrive"];
    assert_eq!(replication.streams, Some(vec!["deals".to_owned(), "persons".to_owned()]));
    assert_eq!(replication.start_date, chrono::NaiveDate::from_ymd_opt(2024, 1, 31));
    assert_eq!(replication.deletes, ReplicaDeletes::Hard);
    assert_eq!(config.sync.settle, Duration::from_secs(90));
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn given_nothing_but_a_store_when_parsed_then_the_defaults_hold() {
    let config = parse("[store]\nurl = \"sqlite://a.db\"\n", &[]).expect("a valid file");

    assert_eq!(config.sync, SyncSettings::default());
    assert_eq!(config.guards, GuardLimits::default());
    assert!(config.routes.is_empty());
}

#[test]
fn given_an_override_when_parsed_then_the_variable_wins() {
    let config = parse(
        WHOLE,
        &[
            ("CRMSYNC_CONNECTIONS__ZOHO__API_URL", "https://gateway.example"),
            ("CRMSYNC_CONNECTIONS__ZOHO__BUDGET__SHARE", "0.25"),
            ("CRMSYNC_CONNECTIONS__ZOHO__CLIENT_SECRET", "direct"),
            ("CRMSYNC_ROUTES__CRM__WEBHOOKS", "true"),
            ("CRMSYNC_GUARDS__CREATE_FLOOR", "7"),
            ("CRMSYNC_REPLICATIONS__PIPEDRIVE__STREAMS", "deals, notes"),
        ],
    )
    .expect("a valid file");

    assert_eq!(zoho(&config).api_url.as_deref(), Some("https://gateway.example"));
    assert_eq!(zoho(&config).shared.budget.share.to_string(), "0.25");
    assert_eq!(zoho(&config).client_secret.reveal().expect("set").expose_secret(), "direct");
    assert!(config.routes["crm"].webhooks);
    assert_eq!(config.guards.create_floor, 7);
    let streams = config.replications["pipedrive"].streams.clone();
    assert_eq!(streams, Some(vec!["deals".to_owned(), "notes".to_owned()]));
    assert!(config.warnings.is_empty(), "a secret from the environment is no plain text");
}

#[test]
fn given_a_secret_that_is_not_there_when_revealed_then_key_and_remedy_are_named() {
    let config = parse(WHOLE, &[]).expect("a missing secret is missed only when needed");

    let missing = zoho(&config).client_secret.reveal().expect_err("it is not set");

    insta::assert_snapshot!(missing, @"connections.zoho.client_secret: the environment variable ZOHO_CLIENT_SECRET is not set; set it, or write it to .env");
}

#[test]
fn given_a_plain_secret_when_parsed_then_a_warning_names_its_key_and_not_its_value() {
    let text = WHOLE.replace("{ env = \"PIPEDRIVE_API_TOKEN\" }", "\"0123abcd\"");

    let config = parse(&text, &[]).expect("plain secrets work");

    assert_eq!(config.warnings.len(), 1);
    assert!(config.warnings[0].starts_with("connections.pipedrive.api_token"));
    assert!(!format!("{config:?}").contains("0123abcd"), "debug output hides secrets");
}

#[test]
fn given_a_secret_file_when_parsed_then_its_content_without_the_last_line_end_is_the_secret() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("token"), "abc\n").expect("written");
    let text = WHOLE.replace("{ env = \"PIPEDRIVE_API_TOKEN\" }", "{ file = \"token\" }");
    let file = folder.path().join("crmsync.toml");

    let config = Config::parse(&file, &text, &Environment::default()).expect("a valid file");

    let Connection::Pipedrive(pipedrive) = &config.connections["pipedrive"] else {
        panic!("`pipedrive` is a Pipedrive connection")
    };
    let PipedriveSignIn::ApiToken(token) = &pipedrive.sign_in else {
        panic!("it signs in with a token")
    };
    assert_eq!(token.reveal().expect("the file is there").expose_secret(), "abc");
}

#[test]
fn given_a_sqlite_path_when_the_file_lies_elsewhere_then_it_counts_from_the_files_folder() {
    let cases = [
        ("sqlite://crmsync.db", "sqlite:///etc/sync/crmsync.db"),
        ("sqlite:///var/x.db", "sqlite:///var/x.db"),
        ("sqlite::memory:", "sqlite::memory:"),
        ("postgres://h/d", "postgres://h/d"),
    ];
    for (given, expected) in cases {
        let text = format!("[store]\nurl = \"{given}\"\n");
        let config =
            Config::parse(Path::new("/etc/sync/crmsync.toml"), &text, &Environment::default())
                .expect(given);

        assert_eq!(config.store.url.reveal().expect("plain").expose_secret(), expected);
    }
}

#[test]
fn given_mistakes_when_parsed_then_each_is_shown_where_it_stands() {
    let cases = [
        ("unknown key", WHOLE.replace("region =", "regoin =")),
        ("unknown table", WHOLE.replace("[sync]", "[snyc]")),
        ("unknown choice", WHOLE.replace("\"eu\"", "\"europe\"")),
        ("not TOML", WHOLE.replace("company = \"acme\"", "company = acme")),
        ("unknown connection", WHOLE.replace("right = \"pipedrive\"", "right = \"pipdrive\"")),
        ("same sides", WHOLE.replace("right = \"pipedrive\"", "right = \"zoho\"")),
        ("open host", WHOLE.replace("http://127.0.0.1:4711/", "http://crm.example.com")),
        ("wrong kind", WHOLE.replace("every = \"5m\"", "every = 5")),
        ("no period", WHOLE.replace("every = \"5m\"", "every = \"5 minutes\"")),
        ("missing type", WHOLE.replace("type = \"sql\"\n", "")),
        ("two sign-ins", WHOLE.replace("company = \"acme\"", "client_id = \"x\"")),
        ("secret source", WHOLE.replace("{ env = \"WAREHOUSE_URL\" }", "{ vault = \"x\" }")),
        ("share above one", WHOLE.replace("share = 0.5", "share = 1.5")),
        ("two at once", WHOLE.replace("region =", "regoin =").replace("deletes =", "delete =")),
    ];
    let shown = cases.map(|(case, text)| {
        let error = parse(&text, &[]).expect_err(case);
        format!("## {case}\n{error}\n")
    });

    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn given_a_wrong_override_when_parsed_then_the_variable_is_named() {
    let error = parse(WHOLE, &[("CRMSYNC_CONNECTIONS__ZOHO__REGOIN", "eu")]).expect_err("unknown");

    insta::assert_snapshot!(error, @r"
    × unknown key `connections.zoho.regoin` (from CRMSYNC_CONNECTIONS__ZOHO__REGOIN)
    help: did you mean `region`?
    ");
}
