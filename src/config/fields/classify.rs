use super::HumanDuration;
use super::section::{Section, set_all};
use super::table::table;
use crate::classify::{Class, GrpcClassifier, Health, HttpClassifier, Processed, Verdict};
use crate::config::error::ConfigError;

table! {
    /// The settings of the classifiers of HTTP and gRPC. Each field is its setter; left out, it keeps the default of
    /// that. The lists of a name replace those of the common part.
    pub struct ClassifyConfig {
        /// [`HttpClassifier::statuses`]: of several that fit, the last one applies.
        statuses: Vec<StatusConfig>,
        /// [`HttpClassifier::rate_limit_reset`].
        rate_limit_reset: bool,
        /// [`GrpcClassifier::code`].
        codes: Vec<CodeConfig>,
        /// [`HttpClassifier::distrust_refusals`] and [`GrpcClassifier::distrust_refusals`].
        distrust_refusals: bool,
    }
}

table! {
    /// The verdict on HTTP statuses.
    pub struct StatusConfig {
        /// The status, or the first of several: from 100 to 999.
        pub first: u16,
        /// The last one. Left out, it is the first.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub last: Option<u16>,
        /// What they mean.
        pub verdict: VerdictConfig,
    }
}

table! {
    /// The verdict on a gRPC code.
    pub struct CodeConfig {
        /// The code, from 0 to 16.
        pub code: u16,
        /// What it means.
        pub verdict: VerdictConfig,
    }
}

table! {
    /// A [`Verdict`]: a class, and where it differs from what is [usual](Verdict::new) for the class.
    pub struct VerdictConfig {
        /// Whether another attempt can help.
        pub class: Class,
        /// Whether the server acted on the request.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub processed: Option<Processed>,
        /// What a breaker learns from it.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub health: Option<Health>,
        /// Whether to retry, whatever the class.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub should_retry: Option<bool>,
        /// The wait before a retry if the server sends no hint.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub retry_after: Option<HumanDuration>,
    }
}

impl Section<'_, ClassifyConfig> {
    pub(crate) fn http(&self) -> Result<HttpClassifier, ConfigError> {
        let classifier = HttpClassifier::new();
        Ok(set_all! { self, classifier;
            statuses => |classifier, statuses| statuses.iter().try_fold(classifier, |classifier, status| {
                let StatusConfig { first, last, verdict } = status;
                classifier.try_statuses(*first..=last.unwrap_or(*first), verdict.verdict())
            });
            rate_limit_reset => |classifier, obey| Ok(classifier.rate_limit_reset(*obey));
            distrust_refusals => |classifier, distrust| {
                Ok(if *distrust { classifier.distrust_refusals() } else { classifier })
            };
        })
    }

    pub(crate) fn grpc(&self) -> Result<GrpcClassifier, ConfigError> {
        let classifier = GrpcClassifier::new();
        Ok(set_all! { self, classifier;
            codes => |classifier, codes| codes.iter().try_fold(classifier, |classifier, CodeConfig { code, verdict }| {
                classifier.try_code(*code, verdict.verdict())
            });
            distrust_refusals => |classifier, distrust| {
                Ok(if *distrust { classifier.distrust_refusals() } else { classifier })
            };
        })
    }
}

impl VerdictConfig {
    fn verdict(&self) -> Verdict {
        let Self { class, processed, health, should_retry, retry_after } = self;
        let mut verdict = Verdict::new(*class);
        if let Some(processed) = processed {
            verdict = verdict.with_processed(*processed);
        }
        if let Some(health) = health {
            verdict = verdict.with_health(*health);
        }
        if let Some(retry) = should_retry {
            verdict = verdict.with_should_retry(*retry);
        }
        if let Some(wait) = retry_after {
            verdict = verdict.with_retry_after(wait.0);
        }
        verdict
    }
}
