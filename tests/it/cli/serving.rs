//! `crmsync serve` as a process: who may sign in, what it prints, how it ends.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

use super::program::Desk;

const CONFIG: &str = "[store]\nurl = \"sqlite://store.db\"\n";

/// Runs a command that reads a password.
fn with_password(desk: &Desk, arguments: &[&str], password: &str) -> (i32, String) {
    let mut command = desk.command(arguments);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), text)
}

#[test]
fn given_names_and_passwords_when_people_are_added_then_those_that_are_none_are_refused() {
    let desk = Desk::new().with_file("crmsync.toml", CONFIG);

    let added =
        with_password(&desk, &["people", "add", "ann", "--role", "reviewer"], "a long password");
    let short = with_password(&desk, &["people", "add", "bob"], "short");
    let name = with_password(&desk, &["people", "add", "two words"], "a long password");
    let role = with_password(&desk, &["people", "add", "bob", "--role", "king"], "a long password");
    let listed = desk.run(&["people", "list", "--json"]);
    let removed = desk.run(&["people", "remove", "ann"]);
    let again = desk.run(&["people", "remove", "ann"]);

    assert_eq!(added, (0, "ann may sign in as reviewer\n".to_owned()));
    assert_eq!((short.0, name.0, role.0), (2, 2, 2));
    assert!(short.1.contains("a password has 10 to 1024 characters"), "{}", short.1);
    assert!(role.1.contains("viewer, reviewer or operator"), "{}", role.1);
    let people: serde_json::Value = serde_json::from_str(&listed.out).unwrap();
    assert_eq!(people[0]["name"], "ann");
    assert_eq!(people[0].get("password"), None, "not even its hash");
    assert_eq!((removed.code, again.code), (0, 2));
}

#[test]
fn given_a_service_when_told_to_terminate_then_it_ends_well() {
    let desk = Desk::new().with_file("crmsync.toml", CONFIG);
    let mut child = desk
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    let hint = lines.next().unwrap().unwrap();

    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let ended = child.wait().unwrap();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();

    assert!(first.starts_with("serving http://127.0.0.1:"), "{first}");
    assert!(hint.contains("crmsync people add"), "{hint}");
    assert!(told.success());
    assert_eq!(ended.code(), Some(0), "{rest:?}");
    assert_eq!(rest.last().map(String::as_str), Some("stopped"), "{rest:?}");
}

#[test]
fn given_a_taken_port_when_served_then_it_says_which_and_what_to_do() {
    let desk = Desk::new().with_file("crmsync.toml", CONFIG);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();

    let said = desk.run(&["serve", "--listen", &place]);

    assert_eq!(said.code, 2);
    assert!(said.err.contains(&format!("cannot listen on {place}")), "{}", said.err);
    assert!(said.err.contains("[serve] listen"), "{}", said.err);
}
