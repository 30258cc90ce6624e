//! For machines that watch this one: alive, ready, and numbers for Prometheus.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use crmsync_core::model::Side;
use metrics::{counter, gauge};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::App;
use super::problem::ApiProblem;
use crate::report::status;
use crate::service::{JobName, JobState};

/// The process answers.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// The store answers, and the service is not stopping.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.stopping.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match app.store().runs(None, 1).await {
        Ok(_) => "ready\n".into_response(),
        Err(error) => {
            tracing::error!("not ready: {error}");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n").into_response()
        }
    }
}

/// What the store and the scheduler hold now, in Prometheus' text format.
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, ApiProblem> {
    let (config, history, now) = (app.config(), app.history(), app.now());
    let mut routes = Vec::new();
    let jobs = app.scheduler.jobs();
    for (name, _) in &jobs {
        if let JobName::Route(route) = name {
            let counts = app.counts(route).await;
            routes.push(status::glance(&history, &config, route, counts, now).await?);
        }
    }
    let mut spent = Vec::new();
    for name in config.connections.keys() {
        spent.push((name.clone(), history.spent(name, now).await?));
    }
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        for (name, state) in &jobs {
            tell_job(name, state);
        }
        for status in &routes {
            tell_route(status);
        }
        for (name, cost) in &spent {
            gauge!("crmsync_calls_last_day", "connection" => name.clone()).set(float(cost.calls));
            gauge!("crmsync_units_last_day", "connection" => name.clone()).set(float(cost.units));
        }
    });
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    Ok((kind, handle.render()).into_response())
}

fn tell_job(name: &JobName, state: &JobState) {
    let job = name.to_string();
    gauge!("crmsync_job_running", "job" => job.clone()).set(if state.running.is_some() {
        1.0
    } else {
        0.0
    });
    gauge!("crmsync_job_failures_in_a_row", "job" => job.clone()).set(f64::from(state.failures));
    counter!("crmsync_job_runs_total", "job" => job.clone()).absolute(state.runs);
    if let Some(last) = &state.last {
        gauge!("crmsync_job_last_exit", "job" => job.clone()).set(f64::from(last.exit));
        let took = (last.ended_at - last.started_at).as_seconds_f64();
        gauge!("crmsync_job_last_duration_seconds", "job" => job.clone()).set(took);
        gauge!("crmsync_job_last_end_timestamp_seconds", "job" => job)
            .set(signed(last.ended_at.timestamp()));
    }
}

fn tell_route(status: &status::Glance) {
    for entity in &status.entities {
        let labels = [("route", status.route.to_string()), ("entity", entity.entity.to_string())];
        gauge!("crmsync_linked_records", &labels).set(float(entity.linked));
        gauge!("crmsync_open_rows", &labels).set(float(entity.open_rows));
        gauge!("crmsync_subjects_to_plan", &labels).set(float(entity.attention));
        for side in Side::BOTH {
            let [route, entity_label] = labels.clone();
            let labels = [route, entity_label, ("side", status.sides[side].clone())];
            gauge!("crmsync_records", &labels).set(float(entity.records[side]));
            if let Some(lag) = entity.lag_seconds[side] {
                gauge!("crmsync_lag_seconds", &labels).set(signed(lag));
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "seconds far below 2^52")]
fn signed(seconds: i64) -> f64 {
    seconds as f64
}
