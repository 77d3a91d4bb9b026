use axum_core::response::{IntoResponse, Response};

use super::UpstreamFailure;

impl IntoResponse for UpstreamFailure {
    fn into_response(self) -> Response {
        self.to_response()
    }
}
