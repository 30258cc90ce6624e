//! One suite for every connector: what a side must do, whatever it is. Cases look at `Capabilities` where sides
//! differ; what only one side has is tested in that side's file.

mod cases;
mod pipedrive;
mod sql;
mod zoho;

use std::sync::Once;

use crmsync::connectors::Connector;
use crmsync_core::model::{ModuleName, RecordId, RemoteField};
use crmsync_simulator::fault::Faults;
use crmsync_simulator::traffic::Traffic;

/// A side under test: its connector, and the hands of people behind it. Its module holds persons; pages hold
/// two records.
pub(crate) trait World: Send + Sync {
    fn connector(&self) -> &dyn Connector;
    fn module(&self) -> ModuleName;
    /// A text that a record cannot be created without.
    fn name(&self) -> RemoteField;
    /// A text that it can be created without.
    fn note(&self) -> RemoteField;
    /// The external-ID field.
    fn external_id(&self) -> RemoteField;

    /// Adds a record as a person does.
    fn add(&self, name: &str) -> RecordId;
    /// Changes its name as a person does.
    fn edit(&self, id: &RecordId, name: &str);
    fn delete(&self, id: &RecordId);
    /// Names of all live records, sorted.
    fn names(&self) -> Vec<String>;
    /// Moves the side's clock.
    fn wait(&self, seconds: i64);

    fn faults(&self) -> &Faults;
    fn traffic(&self) -> &Traffic;
    /// Fault patterns of the calls that list, create and update records of the module.
    fn list_call(&self) -> String;
    fn create_call(&self) -> String;
    fn update_call(&self) -> String;
}

/// Installs the TLS provider, as `main` does.
pub(crate) fn tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// Runs every case of the suite against the worlds that `$start` makes.
macro_rules! conformance {
    ($start:path: $($case:ident,)*) => {
        $(#[tokio::test]
        async fn $case() {
            let world = $start().await;
            $crate::conformance::cases::$case(&world).await;
            let unused = $crate::conformance::World::faults(&world).unused();
            assert_eq!(unused, 0, "a scripted fault was not met");
        })*
    };
    ($start:path) => {
        $crate::conformance::conformance!($start:
            given_more_records_than_a_page_when_listed_then_each_comes_once_in_order,
            given_an_edit_when_listed_since_then_it_comes_and_older_ones_do_not,
            given_no_records_when_listed_then_the_page_is_empty_and_has_the_servers_time,
            given_ids_when_fetched_then_they_come_with_raw_json_and_missing_ones_are_left_out,
            given_a_deleted_record_when_probed_then_it_is_not_present,
            given_a_deletion_when_the_feed_is_read_then_it_names_the_record,
            given_rows_when_created_then_each_is_there_once_under_the_id_told,
            given_a_bad_row_among_good_ones_when_created_then_only_it_is_refused,
            given_a_lost_reply_when_created_then_it_is_in_doubt_and_not_repeated,
            given_a_taken_external_id_when_created_then_the_clash_names_the_record,
            given_some_fields_when_updated_then_the_others_stay,
            given_a_record_moved_on_when_updated_with_its_old_version_then_it_is_stale,
            given_a_record_that_is_gone_when_updated_then_the_plan_is_outdated,
            given_a_burst_limit_when_created_then_it_is_waited_out_and_written_once,
            given_trouble_that_passes_when_listed_then_it_is_listed,
            given_a_gateway_page_after_the_effect_when_updated_then_it_is_in_doubt,
            given_a_gateway_page_all_the_time_when_listed_then_the_error_names_the_status,
            given_a_truncated_answer_when_created_then_it_is_in_doubt,
            given_a_truncated_answer_when_listed_then_it_is_read_again,
            given_a_huge_answer_when_listed_then_it_is_refused,
            given_an_unknown_field_when_written_then_nothing_is_sent,
            given_a_record_when_deleted_twice_then_both_succeed,
            given_bad_weather_when_created_then_every_outcome_told_is_true,
            given_bad_weather_when_listed_then_it_is_whole_or_an_error,
            given_calls_when_counted_then_the_side_counts_as_many,
        );
    };
}
pub(crate) use conformance;
