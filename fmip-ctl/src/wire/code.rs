//! Code fields: named values, and every other value as it came.

/// Defines an enum for a one-octet code field whose unnamed values survive a round trip.
macro_rules! code {
    (
        $(#[$attribute:meta])*
        $name:ident { $( $(#[$variant_attribute:meta])* $variant:ident = $value:literal, )* }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$variant_attribute])* $variant, )*
            /// A value without a name; never one that has a name.
            Other(u8),
        }

        impl $name {
            /// Returns the value on the wire.
            pub fn value(self) -> u8 {
                match self {
                    $( Self::$variant => $value, )*
                    Self::Other(value) => value,
                }
            }
        }

        impl From<u8> for $name {
            fn from(value: u8) -> Self {
                match value {
                    $( $value => Self::$variant, )*
                    other => Self::Other(other),
                }
            }
        }
    };
}
pub(crate) use code;
