//! One part of a configuration, for one name.

use super::setting::{Culprit, Setting};
use crate::InvalidSetting;
use crate::config::error::{ConfigError, key};

pub(crate) struct Section<'a, Table> {
    /// `retry`, `breaker` or `classify`.
    pub(crate) part: &'static str,
    pub(crate) name: &'a str,
    /// What `per_name` sets, to name the path of an error.
    pub(crate) own: Option<Table>,
    /// What applies.
    pub(crate) merged: Table,
}

impl<Table: Setting> Section<'_, Table> {
    /// Sets a value, if the file has one. The setter checks it.
    pub(super) fn set<Target: Clone, Value: Setting>(
        &self,
        target: Target,
        field: &str,
        find: impl Fn(&Table) -> Option<&Value>,
        set: impl Fn(Target, &Value) -> Result<Target, InvalidSetting>,
    ) -> Result<Target, ConfigError> {
        let Some(value) = find(&self.merged) else { return Ok(target) };
        set(target.clone(), value).map_err(|invalid| {
            let allowed = |value: &Value| set(target.clone(), value).is_ok();
            let own = self.own.as_ref().and_then(&find);
            // What the name sets comes first: without it, the common part is valid.
            let of_own = own.and_then(|own| value.culprit(own, &allowed));
            let is_own = of_own.is_some();
            match of_own.or_else(|| value.culprit(value, &allowed)) {
                Some(Culprit { path, nearest }) => self.error(&format!("{field}{path}"), is_own, &invalid, nearest),
                None => self.error(field, own.is_some(), &invalid, None),
            }
        })
    }

    /// Sets the name that the caller asks for, which a file holds as a key.
    pub(super) fn set_name<Target>(&self, named: Result<Target, InvalidSetting>) -> Result<Target, ConfigError> {
        named.map_err(|invalid| self.error("name", self.own.is_some(), &invalid, None))
    }

    pub(super) fn error(
        &self,
        field: &str,
        is_own: bool,
        invalid: &InvalidSetting,
        nearest: Option<String>,
    ) -> ConfigError {
        let Self { part, name, own: _, merged: _ } = self;
        let path = format!("{part}.{field}");
        let path = if is_own { format!("per_name.{}.{path}", key(name)) } else { path };
        ConfigError::invalid(path, invalid, nearest)
    }
}

/// Sets the fields of a section, one after the other.
macro_rules! set_all {
    ($section:ident, $target:ident; $($field:ident => |$layer:ident, $value:ident| $set:expr;)+) => {{
        $(let $target = $section.set(
            $target, stringify!($field), |table| table.$field.as_ref(), |$layer, $value| $set,
        )?;)+
        $target
    }};
}
pub(super) use set_all;
