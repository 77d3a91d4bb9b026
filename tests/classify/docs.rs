//! The docs of `classify` name a test for each row of the table of errors. The tests are there.

const DOCS: &str = include_str!("../../src/classify/mod.rs");

const WIRE: [(&str, &str); 7] = [
    ("body", include_str!("../wire/body.rs")),
    ("connect", include_str!("../wire/connect.rs")),
    ("http1", include_str!("../wire/http1.rs")),
    ("http2", include_str!("../wire/http2.rs")),
    ("reqwest", include_str!("../wire/reqwest.rs")),
    ("tls", include_str!("../wire/tls.rs")),
    ("tonic", include_str!("../wire/tonic.rs")),
];

const CHAIN: &str = include_str!("../../src/classify/chain.rs");

#[test]
fn every_row_names_its_test() {
    let (_, table) = DOCS.split_once("| reason | test |").unwrap();
    let rows: Vec<_> = table.lines().skip(2).take_while(|line| line.starts_with("//! |")).collect();
    assert!(rows.len() > 30, "{}", rows.len());
    for row in rows {
        // The last column.
        let names = row.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2);
        let found = names.map(|name| match name.split_once("::") {
            Some((file, test)) => {
                WIRE.iter().any(|(known, text)| *known == file && text.contains(&format!("fn {test}(")))
            }
            None => name == "src/classify/chain.rs" || CHAIN.contains(&format!("fn {name}(")),
        });
        let found: Vec<_> = found.collect();
        assert!(!found.is_empty() && found.iter().all(|found| *found), "{row}");
    }
}
