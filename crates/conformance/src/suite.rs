//! The macros that turn the cases into tests.
//!
//! Each takes the name of an `async fn() -> impl Harness` that is in scope, and
//! makes one `#[tokio::test]` per case, in one module per story. The calling
//! crate needs `tokio` among its dev-dependencies.

/// The store's cases, for the harness that the named function makes.
#[macro_export]
macro_rules! store_suite {
    ($harness:ident) => {
        $crate::cases! { $harness, store,
            create {
                an_operation_is_read_back_as_it_was_given,
                an_unknown_operation_is_not_found,
                an_independent_operation_is_offered_at_once,
                of_a_chain_only_the_head_is_offered,
                a_postponed_operation_is_not_offered_and_holds_its_place,
                a_repeated_create_is_answered_like_the_first,
                another_create_of_the_same_id_gets_the_first_operation,
                a_batch_keeps_its_order,
                concurrent_creates_of_one_token_make_one_chain,
            }
            commit {
                a_commit_writes_its_header,
                a_commit_on_an_old_version_is_told_the_current_header,
                a_header_of_a_lost_past_is_told_the_current_one,
                a_commit_of_an_unknown_operation_is_missing,
                commits_of_a_batch_are_answered_in_order,
                a_repeated_claim_is_answered_like_the_first,
                a_repeated_completion_is_answered_like_the_first,
                a_repeated_resume_is_answered_like_the_first,
                a_repetition_that_comes_too_late_is_a_conflict,
                the_record_comes_along_when_it_is_wanted,
                a_report_is_written_with_its_commit,
                a_checkpoint_is_written_with_its_commit,
                of_racing_claims_one_wins,
                racing_changes_are_made_one_after_the_other,
            }
            several {
                commits_of_one_call_see_each_other,
                a_parked_operation_is_promoted_by_a_later_commit_of_the_call,
                a_repetition_in_one_call_is_recognised,
                several_commits_come_to_what_single_ones_come_to,
            }
            chains {
                only_the_head_can_be_claimed,
                every_completion_promotes_the_next_head,
                a_parked_operation_is_promoted_as_head,
                a_cancel_in_the_middle_promotes_nothing,
                a_suspended_new_head_is_offered_when_it_is_resumed,
                a_resumed_operation_behind_its_head_stays_parked,
                a_head_keeps_its_place_while_it_waits,
                a_waiting_head_holds_back_its_own_token_only,
                a_chain_spans_queues,
                organizations_have_chains_of_their_own,
                an_operation_has_a_place_in_its_chain,
            }
            check {
                a_sound_store_has_no_faults,
                small_steps_come_to_the_end,
                operations_may_change_while_they_are_counted,
            }
            hold {
                a_failed_head_stops_its_chain_until_it_is_resumed,
                a_cancelled_head_stops_its_chain_until_it_is_resumed,
                what_comes_behind_a_stopped_chain_is_parked,
                a_chain_goes_on_after_a_success,
                a_cancel_behind_the_head_is_discarded,
                of_racing_resumes_one_releases_the_chain,
                a_repeated_resume_of_a_chain_is_answered_like_the_first,
                stopped_chains_are_found,
                the_last_error_is_found_by_its_failure_group,
            }
            history {
                every_commit_is_on_record_in_order,
                an_operation_that_runs_once_has_its_history,
                what_the_header_showed_is_stored_when_it_shows_it_no_longer,
                a_repeated_commit_has_one_entry,
                a_refused_commit_has_no_entry,
                a_long_history_keeps_its_ends,
                a_transaction_writes_the_entries_of_its_commits,
                a_history_is_removed_with_its_operation,
                a_report_is_not_on_record,
            }
            outputs {
                an_output_is_written_with_the_end_of_its_attempt,
                the_last_failed_attempt_keeps_more_than_the_others,
                four_outputs_are_kept,
                the_last_failed_attempt_outlasts_those_that_are_given_back,
                a_repeated_commit_has_one_output,
                a_refused_commit_has_no_output,
                an_output_is_removed_with_its_operation,
            }
            transact {
                a_transaction_makes_all_of_it,
                a_transaction_over_partitions_is_made_or_refused,
                a_refused_transaction_writes_nothing,
                a_refusal_names_its_commit,
                a_repeated_transaction_is_answered_like_the_first,
                a_repetition_after_a_change_is_a_conflict,
                creates_of_one_token_keep_their_order,
                a_transaction_hands_a_chain_on,
                neighbours_of_a_chain_may_end_together,
                of_racing_transactions_one_is_made,
                an_operation_is_in_a_transaction_once,
                an_id_that_is_taken_refuses_nothing,
                a_transaction_of_a_thousand,
                the_ends_of_a_transaction_are_heard,
            }
            usage {
                what_an_organization_takes_is_counted,
                a_repeated_create_is_counted_once,
                reports_are_counted_as_they_grow_and_shrink,
                a_token_counts_while_its_chain_has_operations,
                a_series_counts_until_it_ends,
                a_transaction_counts_if_it_is_made,
                of_operations_that_are_gone_nothing_is_counted,
            }
            series {
                a_series_is_due_and_in_no_chain,
                a_time_of_a_series_makes_an_occurrence,
                of_racing_managers_one_makes_the_occurrence,
                a_series_is_paused_and_goes_on,
                a_series_ends_with_its_last_time,
            }
            dispatch {
                a_confirm_removes_the_entry_that_it_published,
                a_late_confirm_leaves_the_newer_entry,
                a_late_confirm_leaves_the_entry_of_a_promotion,
                an_operation_that_leaves_ready_leaves_the_outbox,
                entries_are_given_out_oldest_first,
                entries_are_given_out_from_a_stamp_on,
                the_last_offer_is_told,
                young_entries_are_not_given_out,
                what_ought_to_be_in_the_broker_is_told,
                what_ought_to_be_in_the_broker_is_told_in_pieces,
                a_reoffer_is_a_compare_and_set,
                a_reoffer_of_what_has_moved_on_does_nothing,
                a_delayed_reoffer_is_kept_from_the_relay,
                an_offer_follows_a_delayed_one,
                a_delay_may_be_as_long_as_a_duration,
                stamps_only_grow,
            }
            flows {
                a_backlog_delays_no_other_organization,
                more_flows_than_a_look_has_entries_come_in_turn,
                a_flow_goes_on_behind_an_entry,
                large_entries_come_in_several_answers,
                a_flow_of_young_entries_is_left_out,
                the_load_of_a_queue_is_what_could_run,
            }
            work {
                the_partitions_with_work_are_told,
                what_may_give_work_is_counted,
                work_of_any_size_is_told,
            }
            places {
                a_ready_operation_is_in_one_place,
                a_parked_operation_is_in_no_set,
                parked_operations_are_not_looked_at,
                what_was_offered_comes_flow_by_flow,
            }
            locks {
                a_claim_takes_a_lock,
                the_end_of_a_holding_gives_up_the_lock,
                a_renewal_moves_the_beat,
                a_request_to_stop_comes_with_the_renewal,
                a_holder_finds_its_requests_to_stop,
                a_lock_that_moves_is_not_taken_over,
                of_two_watchers_one_takes_over,
                a_stale_fence_writes_nothing,
                the_fence_of_another_owner_is_stale,
                an_old_version_is_told_before_a_stale_fence,
                a_report_is_the_holders_to_write,
                a_lost_at_most_once_operation_fails_and_frees_its_chain,
            }
            reports {
                progress_leaves_the_checkpoint_alone,
                a_report_of_any_size_is_read_as_it_was_written,
                a_header_of_any_length_is_read_as_it_was_written,
                a_payload_of_any_size_comes_along,
            }
            due {
                an_operation_is_due_when_its_time_has_come,
                the_earliest_comes_first,
                a_retry_comes_due,
                a_time_can_be_moved,
                a_time_can_be_cleared,
                of_two_managers_one_wakes_it,
                a_throttled_operation_is_put_off,
            }
            actions {
                an_action_is_kept_with_its_texts,
                an_action_is_written_on_the_revision_before_it,
                of_racing_executors_one_takes_an_action,
                actions_are_listed_newest_first_by_organization,
                open_actions_are_found_oldest_first,
                old_actions_are_removed_when_they_have_ended,
                the_oldest_ended_action_makes_room,
            }
            queues {
                an_organization_uses_a_limited_number_of_queues,
                queues_are_listed_in_order,
                a_queue_that_is_not_used_is_forgotten,
            }
            pauses {
                a_pause_is_kept_with_its_texts,
                a_pause_that_is_set_again_is_one_pause,
                an_older_copy_replaces_no_newer_one,
                every_kind_of_scope_is_held,
                a_freeze_holds_every_organization,
                a_create_in_a_paused_scope_is_held_at_once,
                a_claim_outside_the_scope_is_granted,
                a_claim_that_is_held_twice_is_held_once,
                what_runs_goes_on_under_a_pause,
                what_is_held_is_not_offered_again,
                what_is_held_is_released_in_order,
                what_is_released_is_held_by_another_pause,
                what_leaves_ready_leaves_the_held_set,
                a_held_head_holds_its_chain_back,
                a_held_operation_expires,
                a_pause_ends_by_itself,
                a_release_passes_the_scopes_that_are_paused,
                a_held_claim_refuses_its_transaction,
                a_claim_in_a_transaction_is_held_whole,
                many_are_held_and_released,
            }
            expiry {
                what_has_not_started_in_time_expires,
                a_start_in_time_ends_the_wait,
                an_attempt_that_was_given_back_was_a_start,
                the_earlier_of_two_times_comes_first,
                a_paused_operation_expires,
                what_expires_in_the_middle_leaves_its_chain,
                an_expired_head_hands_its_chain_on,
                of_a_claim_and_an_expiry_one_is_made,
                of_racing_managers_one_expires_it,
                a_repeated_expiry_is_answered_like_the_first,
            }
            ends {
                ends_are_told_by_class_in_their_order,
                what_has_not_ended_or_was_removed_is_not_told,
                the_order_of_ends_goes_over_all_partitions,
                the_order_of_ends_is_read_in_pieces,
                no_end_is_missed_while_others_write,
            }
            notices {
                an_end_is_noted_where_somebody_is_to_be_told,
                a_notice_is_put_off_and_counted,
                a_notice_that_was_not_tried_is_put_off_uncounted,
                a_notice_is_done_once,
                a_notice_is_owed_until_it_is_done,
                the_earliest_notice_comes_first,
                a_notice_goes_with_its_operation,
            }
            listing {
                pages_cover_everything_once_newest_first,
                nothing_lists_as_nothing,
                a_cursor_is_stable_while_others_create,
                a_listing_shows_each_once_while_they_change,
                filters_select,
                a_rare_one_is_found_behind_many_others,
                a_listing_shows_whole_operations,
                every_state_is_counted,
            }
            indexes {
                an_index_lists_its_value_only,
                a_rare_value_is_found_in_one_call,
                of_several_conditions_the_rarest_is_searched,
                an_index_shows_each_once_while_they_change,
                a_message_name_is_listed_by_status,
                failures_are_listed_by_organization,
                a_removed_operation_is_in_no_index,
                a_transaction_enters_the_indexes,
                an_occurrence_enters_the_indexes,
                an_operation_is_found_by_its_own_id_as_correlation_id,
            }
            large {
                a_summary_leaves_out_data_and_report,
                large_operations_are_read_whole,
                claims_bring_what_their_answer_has_room_for,
                a_large_report_is_read_behind_its_claim,
                a_promoted_head_comes_along_if_it_is_small,
                entries_of_the_outbox_are_summaries,
                another_create_of_a_large_operation_gets_it_whole,
                a_page_ends_when_its_operations_are_large,
                a_page_of_summaries_is_full_however_large_its_operations_are,
            }
            removal {
                a_repeated_removal_is_made,
                delete_removes_every_trace,
                delete_does_not_disturb_the_chain,
                only_completed_operations_can_be_deleted,
            }
            idempotency {
                racing_reservations_agree,
                a_key_stays_reserved,
                a_reservation_ends,
                racing_creates_with_a_key_create_one_operation,
                a_list_uses_each_key_once,
                a_reserved_id_is_the_one_that_is_created,
                the_key_of_a_removed_operation_is_spent,
                a_key_of_another_partition_is_unfit,
            }
            audit {
                audit_entries_are_read_newest_first,
                a_repeated_batch_of_audit_entries_is_added_once,
                the_oldest_audit_entries_leave,
            }
            markers {
                the_latest_marker_of_each_route_counts,
                one_life_has_one_name,
                a_noted_minor_version_stays,
                processes_agree_about_the_time,
            }
            rollups {
                counts_of_several_processes_are_added,
                a_repeated_batch_is_counted_once,
                keys_without_room_are_counted_among_the_others,
                a_day_without_counts_reads_as_zeros,
                failures_are_added_to_their_groups,
                a_repeated_batch_of_failures_is_counted_once,
                the_failures_of_a_group_are_counted_in_each_hour,
                an_hour_counts_a_bounded_number_of_groups,
                a_mute_is_of_one_group,
                a_mute_goes_with_its_group,
                organizations_have_failure_groups_of_their_own,
                the_group_that_failed_longest_ago_goes,
            }
            hearing {
                a_completion_is_heard,
                only_completions_are_heard,
            }
            grid {
                every_event_on_every_status_without_a_token,
                every_event_on_every_status_of_a_head,
                every_event_on_every_status_behind_a_head,
                every_event_on_every_status_of_a_head_that_holds,
                every_event_on_every_status_behind_a_head_that_holds,
                every_event_on_every_status_of_what_has_expired,
                every_event_on_every_status_of_a_series,
            }
            volume {
                ten_thousand_operations,
                racing_workers_keep_every_chain_in_order,
            }
        }
    };
}

/// The broker's cases, for the harness that the named function makes.
#[macro_export]
macro_rules! broker_suite {
    ($harness:ident) => {
        $crate::cases! { $harness, broker,
            delivery {
                a_message_is_delivered_as_it_was_published,
                a_marker_is_delivered_as_it_was_published,
                messages_wait_for_their_first_consumer,
                answers_come_in_order_one_for_each,
                an_acknowledged_message_does_not_come_again,
                unacknowledged_messages_come_back_on_close,
                unacknowledged_messages_come_back_on_drop,
                a_dropped_receipt_keeps_its_message_in_hand,
                a_late_acknowledgement_takes_nothing_from_others,
                no_more_than_the_prefetch_is_in_hand,
                waiting_for_the_next_can_be_given_up,
                a_burst_arrives_whole,
            }
            lanes {
                a_lane_has_one_consumer_at_a_time,
                a_lane_is_handed_over_with_what_was_in_hand,
                a_lane_is_handed_over_when_its_consumer_is_dropped,
                a_lane_keeps_its_order,
                a_lane_takes_from_several_publishers,
            }
            routes {
                every_route_is_a_queue_of_its_own,
                workers_share_the_work_queue,
                workers_share_the_spare_queue,
                a_queue_that_nobody_used_has_no_backlog,
                a_backlog_counts_what_waits_and_who_consumes,
                a_broker_that_is_up_says_so,
                an_unused_queue_is_removed,
            }
        }
    };
}

/// The membership's cases, for the harness that the named function makes.
#[macro_export]
macro_rules! membership_suite {
    ($harness:ident) => {
        $crate::cases! { $harness, membership,
            beats {
                a_member_that_beats_is_listed_by_all,
                the_latest_beat_counts,
                a_beat_that_changes_no_profile_brings_nothing_new,
                a_member_that_leaves_is_gone,
                a_member_hears_with_its_beat_that_it_is_to_drain,
                members_are_grouped_by_their_profiles,
                many_members_beat_at_once,
                a_member_of_a_large_fleet_sees_all_others,
                the_pages_hold_every_member,
            }
        }
    };
}

/// The limiter's cases, for the harness that the named function makes.
#[macro_export]
macro_rules! limiter_suite {
    ($harness:ident) => {
        $crate::cases! { $harness, limiter,
            permits {
                no_more_permits_are_held_than_the_limit_allows,
                acquiring_and_releasing_may_be_repeated,
                of_racing_requests_as_many_get_a_permit_as_the_limit_allows,
                a_permit_ends_with_its_lease,
                a_released_permit_is_not_renewed,
                a_request_without_a_permit_holds_none,
                keys_have_permits_of_their_own,
                a_limit_of_zero_is_no_limit,
            }
            window {
                no_more_are_granted_than_the_window_allows,
                none_are_granted_when_the_time_is_used_up,
                a_repeated_request_is_counted_once,
                of_racing_requests_as_many_are_granted_as_the_window_allows,
                there_is_room_when_it_was_said_to_be,
                each_limit_stands_for_itself,
            }
        }
    };
}

/// The cases of a store that survives its process, for the harness that the named
/// function makes.
#[macro_export]
macro_rules! restart_suite {
    ($harness:ident) => {
        $crate::cases! { $harness, restart,
            survival {
                a_chain_keeps_its_order,
                numbers_never_fall,
                a_lock_is_kept,
                what_may_run_is_offered_again,
                a_key_stands_for_its_operation,
                a_pause_goes_on,
            }
        }
    };
}

/// One test per case.
#[doc(hidden)]
#[macro_export]
macro_rules! cases {
    ($harness:ident, $suite:ident, $( $story:ident { $( $case:ident ),* $(,)? } )*) => {
        $(
            mod $story {
                $(
                    #[tokio::test(flavor = "multi_thread")]
                    async fn $case() {
                        let harness = super::$harness().await;
                        $crate::$suite::$story::$case(&harness).await;
                    }
                )*
            }
        )*
    };
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    /// A case that no macro names never runs.
    #[test]
    fn every_case_is_in_a_suite() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let listed = include_str!("suite.rs");
        let mut seen = 0;
        for suite in ["store", "broker", "membership", "limiter", "restart"] {
            let mut folders = vec![source.join(suite)];
            let mut files = Vec::new();
            while let Some(folder) = folders.pop() {
                for entry in std::fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        folders.push(path);
                    } else {
                        files.push(path);
                    }
                }
            }
            for path in files {
                let text = std::fs::read_to_string(&path).unwrap();
                for case in text
                    .lines()
                    .filter_map(|line| line.strip_prefix("pub async fn "))
                {
                    let name = case.split('(').next().unwrap();
                    assert!(
                        listed.contains(&format!(" {name},\n")),
                        "{name} of {} is in no suite",
                        path.display()
                    );
                    seen += 1;
                }
            }
        }
        assert!(seen > 80, "only {seen} cases found");
    }
}
