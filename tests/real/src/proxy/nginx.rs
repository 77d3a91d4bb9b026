use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use super::{Limit, Listeners, Setup};
use crate::certificate::Certificate;

pub(super) fn config(
    setup: Setup,
    listeners: Listeners,
    app: SocketAddr,
    certificate: &Certificate,
    directory: &Path,
) -> String {
    let Listeners { http1, h2c, h2_tls } = listeners;
    let (pem, key) = (certificate.pem(), certificate.key());
    let (pem, key, directory) = (pem.display(), key.display(), directory.display());
    let mut rules = String::new();
    if let Some(requests) = setup.keepalive_requests {
        let _ = writeln!(rules, "    keepalive_requests {requests};");
    }
    match setup.limit {
        None => {}
        Some(Limit::TooManyRequests) => {
            rules.push_str("    limit_req zone=all burst=50 nodelay;\n    limit_req_status 429;\n");
            rules.push_str("    add_header Retry-After 1 always;\n");
        }
        Some(Limit::Unavailable) => rules.push_str("    limit_req zone=all burst=50 nodelay;\n"),
    }
    format!(
        "daemon off;
worker_processes 2;
pid {directory}/nginx.pid;
error_log {directory}/proxy.log warn;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {directory}/client_body;
  proxy_temp_path {directory}/proxy_temp;
  fastcgi_temp_path {directory}/fastcgi_temp;
  uwsgi_temp_path {directory}/uwsgi_temp;
  scgi_temp_path {directory}/scgi_temp;
  limit_req_zone $server_port zone=all:1m rate=1000r/s;
  limit_req_log_level info;
  upstream app {{
    server {app};
    keepalive 256;
    keepalive_requests 1000000;
  }}
  server {{
    listen {http1} backlog=2048;
    listen {h2c} http2 backlog=2048;
    listen {h2_tls} ssl http2 backlog=2048;
    ssl_certificate {pem};
    ssl_certificate_key {key};
{rules}    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
    }}
  }}
}}
"
    )
}
