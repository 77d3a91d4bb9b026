//! One part of a configuration for one name: the common part under what `per_name` sets.

use super::error::ConfigError;
use super::setting::Setting;
use crate::InvalidSetting;

pub(super) struct Section<'a, Table> {
    /// `retry`, `breaker` or `classify`.
    pub(super) part: &'static str,
    pub(super) name: &'a str,
    pub(super) own: Option<&'a Table>,
    pub(super) merged: Table,
}

impl<'a, Table: Setting> Section<'a, Table> {
    pub(super) fn new(part: &'static str, name: &'a str, own: Option<&'a Table>, common: &Table) -> Self {
        let merged = own.map_or_else(|| common.clone(), |own| own.clone().over(common));
        Self { part, name, own, merged }
    }

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
            let nearest = value.nearest(|value| set(target.clone(), value).is_ok());
            self.error(field, self.own.is_some_and(|own| find(own).is_some()), &invalid, nearest)
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
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let path = match is_own {
            true if !name.is_empty() && name.bytes().all(is_bare) => format!("per_name.{name}.{part}.{field}"),
            true => format!("per_name.{name:?}.{part}.{field}"),
            false => format!("{part}.{field}"),
        };
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
