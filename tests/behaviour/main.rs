//! Integration tests, one file per behaviour, in one process: they share a cluster and nothing else.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failure is a failed test, with its place"
)]

mod actors;
mod alarms;
mod analytics;
mod append_only;
mod architecture;
mod audit;
mod bad_fields;
mod bad_json;
mod behind_proxy;
mod cold_reads;
mod commands;
mod compensate;
mod container;
mod contract;
mod conventions;
mod csv_datasets;
mod csv_doubts;
mod csv_exports;
mod csv_report;
mod csv_sales;
mod csv_workbooks;
mod cursors;
mod deployed;
mod deployed_routes;
mod deployed_secrets;
mod deployed_times;
mod documents;
mod encryption;
mod entities;
mod event_types;
mod evolution;
mod faults;
mod feed;
mod frozen;
mod function_grants;
mod gateway;
mod guide;
mod histories;
mod hostile_connection;
mod iam;
mod idempotency;
mod imports;
mod kept_plans;
mod killed_projector;
mod lists;
mod local_server;
mod lost_acknowledgement;
mod memory;
mod migrate_function;
mod migrations;
mod modules;
mod outage;
mod outdated_schema;
mod pages;
mod parking;
mod policies;
mod pooler_faults;
mod poolers;
mod queue_messages;
mod rebuild;
mod recorded;
mod replay;
mod requested_sweeps;
mod rotation;
mod round_trips;
mod smoke;
mod smoke_script;
mod snapshots;
mod sources;
mod sql_api;
mod status;
mod streams;
mod supabase;
mod sweep;
mod telemetry;
mod time_travel;
mod tokens;
mod verify;
mod wake_ups;
