//! Each row of the table of errors in the docs of `classify` has a test that causes it, named here.

const DOCS: &str = include_str!("../../src/classify/mod.rs");

const FILES: [(&str, &str); 9] = [
    ("body", include_str!("../wire/body.rs")),
    ("connect", include_str!("../wire/connect.rs")),
    ("errors", include_str!("errors.rs")),
    ("goaway", include_str!("../wire/goaway.rs")),
    ("http1", include_str!("../wire/http1.rs")),
    ("http2", include_str!("../wire/http2.rs")),
    ("reqwest", include_str!("../wire/reqwest/errors.rs")),
    ("tls", include_str!("../wire/tls.rs")),
    ("tonic", include_str!("../wire/tonic/channel.rs")),
];

/// The situations in the order of the table, with the tests that cause them.
const ROWS: &[(&str, &[&str])] = &[
    ("relative URI, bad version", &["connect::relative_uri", "connect::bad_version"]),
    ("the same in reqwest (feature `reqwest`)", &["reqwest::builder"]),
    ("https through a plain-text connector", &["connect::https_through_a_plain_connector"]),
    ("certificate rejected by us", &["tls::self_signed", "tls::wrong_name", "tls::expired"]),
    ("TLS protocol error", &["tls::plain_http_instead_of_tls"]),
    ("TLS handshake cut or reset", &["tls::handshake_cut", "tls::handshake_reset"]),
    ("our certificate rejected, TLS 1.3 (feature `rustls`)", &["tls::client_certificate_required"]),
    ("refused", &["connect::refused", "reqwest::refused"]),
    ("unreachable", &["connect::unreachable"]),
    ("connect timeout", &["connect::connect_timeout", "connect::connector_timeout", "reqwest::connect_timeout"]),
    ("name not found", &["connect::dns", "reqwest::dns"]),
    ("any other connector error", &["connect::a_connector_that_fails_for_reasons_of_its_own"]),
    (
        "connection dies in its handshake",
        &["http1::connection_dies_in_its_handshake", "http2::connection_dies_in_its_handshake"],
    ),
    (
        "HTTP/2 connection closed cleanly, or GOAWAY, before the first request",
        &["http2::connection_dies_in_its_handshake", "http2::go_away_on_connect"],
    ),
    (
        "fresh connection closed before the write (hyper-util itself resends on a reused one)",
        &["http1::pooled_connection_closed_before_the_write"],
    ),
    ("REFUSED_STREAM, unless [distrusted](DistrustRefusals)", &["http2::refused_stream", "tonic::refused_stream"]),
    (
        "GOAWAY: no proof, as hyper also reports it for streams that the server answers",
        &[
            "http2::go_away_beyond_the_last_id",
            "goaway::no_post_is_doubled_by_graceful_shutdowns_of_h2",
            "goaway::no_post_is_doubled_by_a_server_that_only_announces_to_go_away",
        ],
    ),
    ("the same with ENHANCE_YOUR_CALM", &["http2::go_away_to_calm_down"]),
    ("GOAWAY that covers our stream, then close", &["http2::go_away_that_covers_the_stream"]),
    (
        "keep-alive race, no head or a partial one",
        &["http1::keep_alive_race", "http1::fin_before_the_status_line", "http1::fin_inside_the_head"],
    ),
    (
        "reset in flight",
        &[
            "http1::rst_before_the_status_line",
            "http1::rst_inside_the_head",
            "http2::rst_in_flight",
            "http2::rst_inside_the_body",
        ],
    ),
    ("connection closed in flight, HTTP/2", &["http2::eof_in_flight"]),
    ("RST_STREAM: CANCEL, INTERNAL_ERROR", &["http2::remote_reset"]),
    ("RST_STREAM: ENHANCE_YOUR_CALM", &["http2::remote_reset_to_calm_down"]),
    (
        "timeout after sending, of tower, tokio or reqwest",
        &["http1::timeout_after_sending", "reqwest::total_timeout", "tonic::timeout_after_sending"],
    ),
    ("HTTP/2 keep-alive unanswered", &["http2::keep_alive_timeout"]),
    ("not HTTP at all", &["http1::garbage_instead_of_http", "reqwest::garbage_instead_of_http"]),
    (
        "our request body failed",
        &[
            "http1::own_request_body_failed",
            "http1::own_request_body_failed_for_reasons_that_were_judged",
            "http2::own_request_body_failed",
        ],
    ),
    ("h2 detected a protocol error of the peer", &["http2::peer_at_fault"]),
    (
        "the client dropped the request: a GOAWAY arrived while it waited for a stream, or the runtime shut down",
        &["http1::runtime_shut_down_under_the_client", "http2::go_away_drops_a_request_that_waits_for_its_stream"],
    ),
    ("reqwest gives up on redirects (feature `reqwest`)", &["reqwest::redirects_without_end"]),
    ("reqwest's `error_for_status` (feature `reqwest`)", &["reqwest::error_for_status"]),
    ("a `tonic::Status` from the server (feature `tonic`)", &["tonic::status_from_the_server"]),
    (
        "a `tonic::Status` that tonic made from an error",
        &["tonic::refused_stream", "tonic::status_of_an_unknown_error"],
    ),
    ("tonic cannot connect (feature `tonic`)", &["tonic::cannot_connect", "tonic::cannot_connect_for_reasons_unknown"]),
    (
        "body cut off, where the layer judges bodies",
        &[
            "body::fin_inside_the_body",
            "body::rst_inside_the_body",
            "body::garbage_inside_the_body",
            "body::stream_reset_inside_the_body",
            "reqwest::fin_inside_the_body",
        ],
    ),
    (
        "this crate's [`CircuitOpen`](crate::breaker::CircuitOpen)",
        &["errors::an_open_circuit_is_terminal_unprocessed_and_neutral"],
    ),
    ("tower's `load_shed::Overloaded`", &["errors::load_shedding_is_unprocessed_and_neutral"]),
    ("an error with a [`ClassifiedError`] in its chain", &["errors::rule_4_the_outermost_classified_error_decides"]),
    ("anything else", &["errors::unknown_chain"]),
];

#[test]
fn every_row_has_a_test() {
    let (_, table) = DOCS.split_once("| situation |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with("//! |"));
    let situations: Vec<_> = rows.map(|row| row["//! | ".len()..].split(" | ").next().unwrap()).collect();
    assert_eq!(situations, ROWS.iter().map(|(situation, _)| *situation).collect::<Vec<_>>());
}

#[test]
fn every_named_test_exists() {
    for (situation, tests) in ROWS {
        assert!(!tests.is_empty(), "{situation}");
        for name in *tests {
            let (file, test) = name.split_once("::").unwrap();
            let is_there = |text: &str| text.contains(&format!("fn {test}("));
            assert!(FILES.iter().any(|(known, text)| *known == file && is_there(text)), "{situation}: {name}");
        }
    }
}
