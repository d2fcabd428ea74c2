//! The code that is made of a row in the table of
//! [`attributes`](crate::attributes).
//!
//! Four macros, one per part of the table. Each row has the attribute's
//! documentation, its name in JSON, its field and type, and its kind. From it
//! come the fields of the types, their readers and writers, the lists of names
//! and the schema.

/// Types for the attributes of a create: `CreateOperation`, which is read, and
/// `NewOperation`, which a client builds.
macro_rules! create {
    (
        $(
            $(#[doc = $doc:literal])+
            $name:literal $field:ident: $type:ty as $kind:ty $(= $default:expr)?
                => $setter:ident($argument:ty);
        )+
    ) => {
        /// An operation that is to be created. The fields that a Rust program
        /// sets are checked when the operation is created; JSON is checked
        /// while it is read.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct CreateOperation {
            $( $(#[doc = $doc])+ pub $field: $type, )+
            /// In order of arrival with all asynchronous requests of the
            /// organization, one at a time, instead of a token: set on what
            /// `ExecuteAsync` creates.
            pub in_order_of_requests: bool,
        }

        impl Default for CreateOperation {
            fn default() -> Self {
                Self {
                    $( $field: default!($($default)?), )+
                    in_order_of_requests: false,
                }
            }
        }

        impl CreateOperation {
            /// The names of the attributes.
            pub(crate) const NAMES: &[&str] = &[$($name),+];

            /// Takes the attributes, with the defaults of those that are
            /// missing, and notes those that are wrong.
            pub(crate) fn take(given: &mut Fields<'_>) -> Self {
                Self {
                    $(
                        $field: match <$kind as Kind>::take(given, $name) {
                            Some(value) => <$type>::from(value),
                            None => default!($($default)?),
                        },
                    )+
                    in_order_of_requests: false,
                }
            }

            /// The attributes that break the rule of their kind, and the
            /// rules, as clauses about them: "is too long".
            #[must_use]
            pub fn kinds_broken(&self) -> Vec<(&'static str, String)> {
                let mut broken = Vec::new();
                $(
                    if let Some(why) = given(&self.$field).and_then(<$kind as Kind>::broken) {
                        broken.push(($name, why));
                    }
                )+
                broken
            }

            /// The attributes that differ from their defaults, as far as they
            /// are part of the fingerprint.
            pub(crate) fn members(&self) -> Map<String, Value> {
                let mut members = Map::new();
                $(
                    let default: $type = default!($($default)?);
                    if self.$field != default
                        && let Some(value) = given(&self.$field).and_then(<$kind as Kind>::content)
                    {
                        members.insert($name.to_owned(), value);
                    }
                )+
                members
            }
        }

        draft! {
            /// An operation that is to be created: a message name and further
            /// attributes. Attributes that are not set are left to the service,
            /// which also checks them all.
            #[derive(Clone, Debug, Default)]
            pub struct NewOperation {
                $( $(#[doc = $doc])+ $name $field: $kind => $setter($argument); )+
            }
            beside {
                /// Sent beside the request, not in it.
                idempotency_key: Option<String>,
            }
        }
    };
}

/// Types for the conditions of a listing: `ListFilter`, which is read, and
/// `Filter`, which a client builds.
macro_rules! filter {
    (
        $(
            $(#[doc = $doc:literal])+
            $name:literal $field:ident: $type:ty as $kind:ty, $scope:ident
                $(=> $setter:ident($argument:ty))?;
        )+
    ) => {
        /// The conditions on operations; several conditions must all hold.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct ListFilter {
            $( $(#[doc = $doc])+ pub $field: Option<$type>, )+
        }

        impl ListFilter {
            /// Takes the conditions in the JSON of `RetrieveMultiple`, and
            /// refuses everything else.
            pub(crate) fn take(given: &mut Fields<'_>) -> Self {
                let filter = Self {
                    $(
                        $field: if Scope::$scope == Scope::Address {
                            None
                        } else {
                            <$kind as Condition>::take_condition(given, $name)
                        },
                    )+
                };
                given.refuse_rest(|_name| "is unknown");
                filter
            }

            /// Adds the condition that a parameter of an address has. Returns
            /// false if there is no condition of this name.
            ///
            /// # Errors
            /// The rule that the value breaks, as a clause about it.
            pub fn set(&mut self, name: &str, value: String) -> Result<bool, String> {
                match name {
                    $( $name => self.$field = Some(<$kind as Condition>::parse(value)?), )+
                    _ => return Ok(false),
                }
                Ok(true)
            }

            /// Returns true if the ends of operations can be filtered by the
            /// condition of this name.
            #[must_use]
            pub fn is_of_events(name: &str) -> bool {
                Self::scope(name) == Some(Scope::Events)
            }

            /// Returns the places where a condition can be named.
            pub(crate) fn scope(name: &str) -> Option<Scope> {
                match name {
                    $( $name => Some(Scope::$scope), )+
                    _ => None,
                }
            }
        }

        draft! {
            /// The conditions on operations; several conditions must all hold.
            #[derive(Clone, Debug, Default, PartialEq, Eq)]
            pub struct Filter {
                $( $(#[doc = $doc])+ $name $field: $kind $(=> $setter($argument))?; )+
            }
            beside {}
        }

        impl Filter {
            /// The conditions as parameters of an address.
            #[must_use]
            pub fn pairs(&self) -> Vec<(&'static str, String)> {
                let mut pairs = Vec::new();
                $(
                    if let Some(value) = &self.$field {
                        pairs.push(($name, Written(value).text()));
                    }
                )+
                pairs
            }
        }
    };
}

/// The type of a request that a client builds.
macro_rules! draft {
    (
        $(#[$meta:meta])+
        pub struct $Draft:ident {
            $(
                $(#[doc = $doc:literal])+
                $name:literal $field:ident: $kind:ty $(=> $setter:ident($argument:ty))?;
            )+
        }
        beside { $( $(#[doc = $beside_doc:literal])+ $beside:ident: $beside_type:ty, )* }
    ) => {
        $(#[$meta])+
        #[must_use]
        pub struct $Draft {
            $( pub(crate) $field: Option<<$kind as Kind>::Draft>, )+
            $( $(#[doc = $beside_doc])+ pub(crate) $beside: $beside_type, )*
        }

        impl $Draft {
            $( setter! { [$(#[doc = $doc])+] $field [$($setter($argument))?] } )+
        }

        impl $Draft {
            /// The attributes, for the schema.
            pub(crate) fn properties() -> Vec<Property> {
                vec![$( Property::of::<$kind>($name, &[$($doc),+], <$kind as Kind>::REQUIRED) ),+]
            }
        }

        impl Serialize for $Draft {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut members = serializer.serialize_map(None)?;
                $(
                    if let Some(value) = &self.$field {
                        members.serialize_entry($name, &Written(value))?;
                    }
                )+
                members.end()
            }
        }
    };
}

/// The method of a draft that sets an attribute, if it has one.
macro_rules! setter {
    ([$($doc:tt)+] $field:ident []) => {};
    ([$($doc:tt)+] $field:ident [$setter:ident($argument:ty)]) => {
        $($doc)+
        pub fn $setter(mut self, value: $argument) -> Self {
            self.$field = Some(value.into());
            self
        }
    };
}

/// The type that shows an operation.
macro_rules! view {
    (
        $(#[$meta:meta])+
        pub struct $View:ident of $Operation:ident {
            $id:ident, $header:ident, $body:ident, $report:ident, $sequence:ident
        }
        $(
            $(#[doc = $doc:literal])+
            $(#[serde($($serde:tt)+)])?
            $name:literal $field:ident: $type:ty $(as $form:ty)? = $value:expr;
        )+
    ) => {
        $(#[$meta])+
        pub struct $View {
            $(
                $(#[doc = $doc])+
                #[serde(rename = $name)]
                $(#[serde($($serde)+)])?
                pub $field: $type,
            )+
        }

        impl $View {
            /// The names of the attributes.
            pub(crate) const NAMES: &[&str] = &[$($name),+];

            /// The attributes, for the schema.
            pub(crate) fn properties() -> Vec<Property> {
                vec![$( {
                    let doc = &[$($doc),+];
                    let is_optional = <$type as Form>::OPTIONAL;
                    first!($( Property::of::<$form>($name, doc, !is_optional) )?;
                        Property::of::<$type>($name, doc, !is_optional))
                } ),+]
            }
        }

        impl From<&$Operation> for $View {
            fn from(operation: &$Operation) -> Self {
                let $Operation { id: $id, header: $header, body: $body, report: $report, sequence: $sequence } = operation;
                Self { $( $field: $value, )+ }
            }
        }
    };
}

/// A default, or that of the type.
macro_rules! default {
    () => {
        Default::default()
    };
    ($default:expr) => {
        $default
    };
}

/// The first of two, if there is one.
macro_rules! first {
    ($first:expr; $second:expr) => {
        $first
    };
    (; $second:expr) => {
        $second
    };
}

pub(crate) use {create, default, draft, filter, first, setter, view};

/// The requests that can name a condition.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// In listings, and in the stream of ends.
    Events,
    /// In listings.
    List,
    /// In the address of a listing alone.
    Address,
}

/// A field that may have a value of this type.
pub(crate) trait Given<V> {
    fn given(&self) -> Option<&V>;
}

impl<V> Given<V> for V {
    fn given(&self) -> Option<&V> {
        Some(self)
    }
}

impl<V> Given<V> for Option<V> {
    fn given(&self) -> Option<&V> {
        self.as_ref()
    }
}

/// The value of a field, if it has one.
pub(crate) fn given<V>(field: &impl Given<V>) -> Option<&V> {
    field.given()
}
