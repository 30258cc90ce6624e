//! Help, `init`, scripts for shells, and what a person with a mistake is told.

use super::program::Desk;

#[test]
fn given_help_when_asked_then_every_command_and_exit_code_is_named() {
    let said = Desk::new().run(&["--help"]);

    assert_eq!((said.code, said.err.as_str()), (0, ""));
    insta::assert_snapshot!(said.out);
}

#[test]
fn given_each_command_when_its_help_is_asked_then_it_is_what_was_reviewed() {
    let commands = [
        "init",
        "connect",
        "check",
        "describe",
        "mapping new",
        "mapping check",
        "mapping fmt",
        "plan",
        "apply",
        "sync",
        "conflicts resolve",
        "conflicts export",
        "failures retry",
        "runs list",
        "why",
        "link",
        "unlink",
        "audit",
        "import",
        "export",
        "replicate",
        "serve",
        "worker",
        "people add",
        "tokens new",
        "demo",
        "sandbox",
        "man",
    ];
    let desk = Desk::new();
    let help = commands.map(|command| {
        let arguments: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let said = desk.run(&arguments);
        assert_eq!(said.code, 0, "{command}");
        format!("## {command}\n{}", said.out)
    });

    insta::assert_snapshot!(help.join("\n"));
}

#[test]
fn given_an_empty_folder_when_initialized_then_it_holds_a_configuration_that_loads() {
    let desk = Desk::new();

    let said = desk.run(&["init"]);

    insta::assert_snapshot!(said.shown());
    let scopes = desk.run(&["connect", "zoho", "--scopes"]);
    assert_eq!((scopes.code, scopes.err.as_str()), (0, ""), "it loads, without a warning");
    let key = desk.read(".env");
    assert!(key.starts_with("CRMSYNC_KEY=") && key.trim().len() == 12 + 44, "32 bytes in base64");
}

#[cfg(unix)]
#[test]
fn given_a_fresh_key_when_initialized_then_only_its_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let desk = Desk::new();

    desk.run(&["init"]);

    let mode = std::fs::metadata(desk.path().join(".env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn given_files_already_there_when_initialized_again_then_none_is_touched() {
    let desk = Desk::new()
        .with_file("crmsync.toml", "# mine\n")
        .with_file(".env", "ZOHO_CLIENT_SECRET=x\n");

    desk.run(&["init"]);
    let once = desk.read(".env");
    let said = desk.run(&["init"]);

    assert_eq!(desk.read("crmsync.toml"), "# mine\n");
    assert!(once.starts_with("ZOHO_CLIENT_SECRET=x\nCRMSYNC_KEY="), "the key is added: {once}");
    assert_eq!(desk.read(".env"), once, "a key that is there stays");
    assert!(!said.out.contains("wrote"), "{}", said.out);
}

#[test]
fn given_a_mistake_when_a_command_runs_then_stderr_says_what_where_and_what_to_do() {
    let valid = "[store]\nurl = \"sqlite://x.db\"\n\n[connections.zoho]\ntype = \"zoho\"\nclient_id = \"1\"\nclient_secret = { env = \"S\" }\nregion = \"eu\"\n";
    let cases = [
        ("no file", None, vec!["status"]),
        ("wrong key", Some(valid.replace("region", "regoin")), vec!["status"]),
        (
            "wrong host",
            Some(format!("{valid}api_url = \"http://crm.example.com\"\n")),
            vec!["describe", "zoho"],
        ),
        ("bad TOML", Some(valid.replace("\"eu\"", "eu")), vec!["status"]),
        ("no such connection", Some(valid.to_owned()), vec!["connect", "zohoo"]),
        ("no such route", Some(valid.to_owned()), vec!["plan", "crm"]),
        ("secret not set", Some(valid.to_owned()), vec!["connect", "zoho", "--code", "1000.x"]),
        ("bad target", Some(valid.to_owned()), vec!["plan", "crm/"]),
        ("choice missing", Some(valid.to_owned()), vec!["conflicts", "resolve", "abc"]),
    ];
    let mut shown = Vec::new();
    for (case, config, arguments) in cases {
        let desk = Desk::new();
        let desk = match config {
            Some(text) => desk.with_file("crmsync.toml", &text),
            None => desk,
        };

        let said = desk.run(&arguments);

        assert_eq!((said.code, said.out.as_str()), (2, ""), "{case}: {}", said.err);
        shown.push(format!("## {case}: crmsync {}\n{}", arguments.join(" "), said.err));
    }

    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn given_a_variable_for_a_key_when_a_command_runs_then_it_wins_over_the_file() {
    let config = "[store]\nurl = \"sqlite://x.db\"\n";
    let desk = Desk::new()
        .with_file("crmsync.toml", config)
        .with_variable("CRMSYNC_STORE__URL", "oracle://x");

    let said = desk.run(&["status"]);

    assert_eq!(said.code, 2);
    assert!(said.err.contains("store.url: not a database URL we know"), "{}", said.err);
}

#[test]
fn given_a_broken_dotenv_when_a_command_runs_then_the_line_is_named_and_not_shown() {
    let desk = Desk::new().with_file(".env", "A=1\nhunter2\n");

    let said = desk.run(&["status"]);

    assert_eq!(said.code, 2);
    assert_eq!(said.err, "error: .env line 2: write NAME=value\n");
}

#[test]
fn given_a_shell_when_completions_are_asked_then_a_script_comes() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let said = Desk::new().run(&["completions", shell]);

        assert_eq!((said.code, said.err.as_str()), (0, ""), "{shell}");
        assert!(said.out.contains("crmsync") && said.out.contains("conflicts"), "{shell}");
    }
}

#[test]
fn given_a_folder_when_the_manual_is_written_then_each_command_has_a_page() {
    let desk = Desk::new();

    let said = desk.run(&["man", "--output", "man"]);

    assert_eq!(said.code, 0, "{}", said.err);
    for page in ["crmsync.1", "crmsync-plan.1", "crmsync-conflicts-resolve.1"] {
        assert!(desk.read(&format!("man/{page}")).contains(".TH"), "{page}");
    }
}

#[test]
fn given_an_untidy_mapping_when_formatted_then_check_says_so_before_and_not_after() {
    let untidy = "entity=\"contact\"\nleft={module=\"Contacts\"}\nright={module=\"persons\"}\n";
    let desk = Desk::new().with_file("mappings/contact.toml", untidy);

    let before = desk.run(&["mapping", "fmt", "--check", "mappings"]);
    let formatted = desk.run(&["mapping", "fmt", "mappings"]);
    let after = desk.run(&["mapping", "fmt", "--check", "mappings"]);

    assert_eq!((before.code, before.out.as_str()), (2, "would change mappings/contact.toml\n"));
    assert_eq!(formatted.out, "formatted mappings/contact.toml\n");
    assert_eq!((after.code, after.out.as_str()), (0, ""));
    insta::assert_snapshot!(desk.read("mappings/contact.toml"));
}

#[test]
fn given_the_shipped_mappings_when_formatting_is_checked_then_nothing_would_change() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/mappings/zoho-pipedrive");

    let said = Desk::new().run(&["mapping", "fmt", "--check", folder]);

    assert_eq!((said.code, said.out.as_str()), (0, ""));
}

#[test]
fn given_a_mapping_with_a_mistake_when_checked_then_a_caret_stands_under_it() {
    let config = "[store]\nurl = \"sqlite://x.db\"\n[connections.a]\ntype = \"sql\"\nurl = \"sqlite://a\"\n[connections.b]\ntype = \"sql\"\nurl = \"sqlite://b\"\n[routes.crm]\nleft = \"a\"\nright = \"b\"\nmappings = \"m\"\n";
    let mapping =
        "entity = \"contact\"\nleft = { module = \"Contacts\" }\nright = { modul = \"persons\" }\n";
    let desk = Desk::new().with_file("crmsync.toml", config).with_file("m/contact.toml", mapping);

    let said = desk.run(&["mapping", "check", "--offline"]);

    insta::assert_snapshot!(said.shown());
}
