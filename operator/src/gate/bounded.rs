//! Lists of untrusted documents, refused while they are read and not after.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor},
};

/// A list of at most `N` values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtMost<T, const N: usize>(pub Vec<T>);

impl<T, const N: usize> Default for AtMost<T, N> {
    fn default() -> Self {
        Self(vec![])
    }
}

impl<'de, T: Deserialize<'de>, const N: usize> Deserialize<'de> for AtMost<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Values<T, const N: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const N: usize> Visitor<'de> for Values<T, N> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {N} entries")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Vec<T>, A::Error> {
                let mut all = vec![];
                while let Some(value) = values.next_element()? {
                    if all.len() == N {
                        return Err(A::Error::custom(format!("a list has more than {N} entries")));
                    }
                    all.push(value);
                }
                Ok(all)
            }
        }

        deserializer.deserialize_seq(Values::<T, N>(PhantomData)).map(Self)
    }
}

/// Refuses a document that is larger than `max` bytes.
///
/// # Errors
/// The rule, with both sizes.
pub fn size(bytes: &[u8], max: usize) -> Result<(), String> {
    if bytes.len() <= max {
        return Ok(());
    }
    Err(format!("it has {} bytes, and at most {} MiB are read", bytes.len(), max >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_too_many_is_refused() {
        assert_eq!(serde_json::from_str::<AtMost<u8, 2>>("[1,2]").unwrap().0, [1, 2]);
        let error = serde_json::from_str::<AtMost<u8, 2>>("[1,2,3]").unwrap_err().to_string();
        assert!(error.starts_with("a list has more than 2 entries"), "{error}");
    }
}
