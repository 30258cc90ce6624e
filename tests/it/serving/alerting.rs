//! Alerts, as a chat system and a mail server receive them.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use crmsync::report::alerts;
use crmsync::service::Scheduler;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::Stand;
use crate::world::World;

type Heard = Arc<Mutex<Vec<String>>>;

/// A chat system's address, and what it heard.
async fn chat() -> (String, Heard) {
    let heard = Heard::default();
    let hear = async |State(heard): State<Heard>, Json(said): Json<Value>| {
        heard.lock().unwrap().push(said["text"].as_str().unwrap().to_owned());
    };
    let router = Router::new().route("/hook", post(hear)).with_state(Arc::clone(&heard));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    (url, heard)
}

/// A mail server that takes everything, and what it took.
async fn post_office() -> (String, Heard) {
    let heard = Heard::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("smtp://{}", listener.local_addr().unwrap());
    let taken = Arc::clone(&heard);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (read, mut write) = stream.into_split();
            let mut lines = BufReader::new(read).lines();
            write.write_all(b"220 office\r\n").await.unwrap();
            let (mut mail, mut in_mail) = (String::new(), false);
            while let Ok(Some(line)) = lines.next_line().await {
                let answer: &[u8] = match (in_mail, line.as_str()) {
                    (true, ".") => {
                        in_mail = false;
                        taken.lock().unwrap().push(std::mem::take(&mut mail));
                        b"250 taken\r\n"
                    }
                    (true, _) => {
                        mail += &line;
                        mail.push('\n');
                        continue;
                    }
                    (false, "DATA") => {
                        in_mail = true;
                        b"354 go on\r\n"
                    }
                    (false, "QUIT") => b"221 bye\r\n",
                    (false, _) => b"250 office\r\n",
                };
                write.write_all(answer).await.unwrap();
            }
        }
    });
    (url, heard)
}

async fn look(scheduler: &Scheduler) {
    alerts::look(scheduler).await.unwrap();
}

#[tokio::test]
async fn given_a_plan_that_waits_when_looked_for_troubles_then_people_hear_of_it_once_and_when_it_is_over()
 {
    let ((chat, heard), (office, mails)) = (chat().await, post_office().await);
    let mut world = World::start().await;
    world.reconfigure(|text| {
        format!(
            "{text}every = \"1h\"\n\n[alerts]\nwebhook = \"{chat}\"\nsmtp = \"{office}\"\nfrom = \"crmsync@example.com\"\n\
             to = [\"ops@example.com\"]\n"
        )
    });
    world.sandbox.zoho.add("Contacts", serde_json::json!({ "Last_Name": "Byron" }));
    let stand = Stand::serve(world).await;
    let state = stand.after_runs(0).await;
    assert_eq!(state.last.unwrap().exit, 3);

    look(&stand.scheduler).await;
    look(&stand.scheduler).await;
    let hash = stand.scheduler.store().runs(None, 1).await.unwrap()[0].plan_hash.clone();
    let asked = crmsync::service::Asked { approve: hash, ..Default::default() };
    stand.scheduler.ask(&crmsync::service::JobName::Route("crm".into()), asked);
    stand.after_runs(1).await;
    look(&stand.scheduler).await;
    stand.world.advance(301);
    look(&stand.scheduler).await;

    let heard = heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 2, "{heard:#?}");
    assert!(heard[0].contains("✗ crm: a plan waits for consent"), "{}", heard[0]);
    assert!(heard[1].contains("✓ over: crm: a plan waits for consent"), "{}", heard[1]);
    let mails = mails.lock().unwrap().clone();
    assert_eq!(mails.len(), 2, "{mails:#?}");
    assert!(mails[0].contains("To: ops@example.com"), "{}", mails[0]);
    stand.stop().await;
}

#[tokio::test]
async fn given_a_receiver_that_is_down_when_it_is_back_then_it_hears_what_it_missed() {
    let mut world = World::start().await;
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = free.local_addr().unwrap();
    drop(free);
    world.reconfigure(|text| {
        format!("{text}every = \"1h\"\n\n[alerts]\nwebhook = \"http://{place}/secret-path\"\n")
    });
    world.sandbox.zoho.add("Contacts", serde_json::json!({ "Last_Name": "Byron" }));
    let stand = Stand::serve(world).await;
    stand.after_runs(0).await;

    let failed = alerts::look(&stand.scheduler).await.unwrap_err();
    let again = alerts::look(&stand.scheduler).await.unwrap_err();

    assert!(failed.starts_with("the webhook failed"), "{failed}");
    assert!(!failed.contains("secret-path"), "{failed}");
    assert_eq!(failed, again, "it is still to be told");
    stand.stop().await;
}
