//! How the tables of a file are defined.

/// Defines a table. A field without `pub` is optional; left out, it keeps the default of its setter.
///
/// A table is read by a visitor of its own, because what serde derives also takes a sequence, by position.
macro_rules! table {
    ($(#[$docs:meta])* pub struct $Table:ident { $($(#[$field_docs:meta])* $field:ident: $Type:ty,)+ }) => {
        table! {
            $(#[$docs])*
            #[derive(Default)]
            #[non_exhaustive]
            pub struct $Table {
                $($(#[$field_docs])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$Type>,)+
            }
        }
    };
    ($(#[$meta:meta])* pub struct $Table:ident { $($(#[$field_meta:meta])* pub $field:ident: $Type:ty,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[serde(deny_unknown_fields)]
        pub struct $Table { $($(#[$field_meta])* pub $field: $Type,)+ }

        const _: () = {
            type Table = $Table;

            #[derive(serde::Deserialize)]
            #[serde(remote = "Table", deny_unknown_fields)]
            struct Fields { $($(#[$field_meta])* $field: $Type,)+ }

            struct TableVisitor;

            impl<'de> serde::Deserialize<'de> for $Table {
                fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    deserializer.deserialize_map(TableVisitor)
                }
            }

            impl<'de> serde::de::Visitor<'de> for TableVisitor {
                type Value = $Table;

                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("a table")
                }

                fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                    Fields::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                }
            }
        };

        impl $crate::config::fields::Setting for $Table {
            fn over(self, common: &Self) -> Self {
                Self { $($field: $crate::config::fields::Setting::over(self.$field, &common.$field),)+ }
            }

            fn culprit(&self, part: &Self, allowed: &dyn Fn(&Self) -> bool) -> Option<$crate::config::fields::Culprit> {
                None$(.or_else(|| {
                    let allowed = |$field: &$Type| allowed(&Self { $field: $field.clone(), ..self.clone() });
                    let culprit = $crate::config::fields::Setting::culprit(&self.$field, &part.$field, &allowed)?;
                    Some(culprit.within(format_args!(".{}", stringify!($field))))
                }))+
            }
        }
    };
}

/// Defines alternatives, of which a file names one. The same alternative over that of the common part is merged field
/// by field; another one replaces it.
macro_rules! kinds {
    ($(#[$docs:meta])* pub enum $Kinds:ident { $($(#[$kind_docs:meta])* $Kind:ident $(($Table:ty))? = $name:literal,)+ }) => {
        $(#[$docs])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
        #[non_exhaustive]
        pub enum $Kinds { $($(#[$kind_docs])* #[serde(rename = $name)] $Kind $(($Table))?,)+ }

        impl $crate::config::fields::Setting for $Kinds {
            fn over(self, common: &Self) -> Self {
                match (self, common) {
                    $($((Self::$Kind(own), Self::$Kind(common)) => {
                        Self::$Kind(<$Table as $crate::config::fields::Setting>::over(own, common))
                    })?)+
                    (own, _) => own,
                }
            }

            fn culprit(&self, part: &Self, allowed: &dyn Fn(&Self) -> bool) -> Option<$crate::config::fields::Culprit> {
                match (self, part) {
                    $($((Self::$Kind(value), Self::$Kind(part)) => {
                        let allowed = |value: &$Table| allowed(&Self::$Kind(value.clone()));
                        let culprit = $crate::config::fields::Setting::culprit(value, part, &allowed)?;
                        Some(culprit.within(format_args!(concat!(".", $name))))
                    })?)+
                    _ => None,
                }
            }
        }
    };
}

pub(in crate::config) use {kinds, table};
