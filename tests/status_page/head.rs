//! The head of each response, and the page as text.

use std::collections::HashSet;

use tower_rampart::status_page::StatusPage;

use crate::support::*;

#[tokio::test]
async fn no_response_is_kept_sniffed_or_read_by_other_origins() {
    let page = StatusPage::new().breakers(tenants("billing"));
    for path in ["/", "/breakers.json", "/events", "/no"] {
        let response = send(page.clone(), get(path)).await;
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-resource-policy", "same-origin"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(response.headers()[name], value, "{path}");
        }
        let policy = response.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn rule_4_a_page_runs_only_what_has_its_own_nonce_and_loads_nothing() {
    let page = StatusPage::new().prefix("/admin/").breakers(tenants("billing"));
    let mut nonces = HashSet::new();
    for path in ["/admin", "/admin/"] {
        let response = send(page.clone(), get(path)).await;
        assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
        let policy = response.headers()["content-security-policy"].to_str().unwrap().to_owned();
        let nonce = policy.split_once("script-src 'nonce-").unwrap().1.split_once('\'').unwrap().0.to_owned();
        assert!(nonce.len() == 32 && policy.contains(&format!("style-src 'nonce-{nonce}'")), "{policy}");
        for part in ["connect-src 'self'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");

        let html = String::from_utf8(bytes(response).await.to_vec()).unwrap();
        for tag in ["script", "style"] {
            assert_eq!(html.matches(&format!("<{tag}")).count(), 1);
            assert_eq!(html.matches(&format!("<{tag} nonce=\"{nonce}\">")).count(), 1);
        }
        // The only address in it is the name of SVG, which is not loaded.
        assert_eq!(html.matches("://").count(), html.matches("http://www.w3.org/2000/svg").count());
        assert!(!html.contains("{nonce}") && !html.contains("src=\"") && !html.contains("innerHTML"));
        nonces.insert(nonce);
    }
    assert_eq!(nonces.len(), 2);
}
