//! `= ANY (array)`: the keys that an array literal or an array parameter holds.
use super::Unroutable;
use super::value::{Base, Operand, Step, Use, Values, oid_of, type_oid, unfolded};
use crate::ids::Oid;
use crate::sharding::{Key, KeyType};
use crate::sql::statement::{Literal, TypeName};
use crate::wire::params::{Params, Value};
use crate::wire::value::oid;

/// An array's elements as single parameters of the element type.
pub(super) fn keys(
    array: &Operand,
    column: &str,
    key_type: KeyType,
    values: Values<'_>,
) -> Result<Vec<Key>, Unroutable> {
    let (mut element, text) = match (&array.base, array.steps.as_slice()) {
        (_, []) => (Oid(0), text(array, values)?),
        (_, [Step::Cast(to)]) => {
            let element = TypeName { name: to.name.replace("[]", ""), array: false, ..to.clone() };
            let known = to.array.then(|| type_oid(&element)).flatten();
            let Some(known) = known else {
                return Err(unfolded(column, &format!("a cast to {}", to.name)));
            };
            (known, text(array, values)?)
        }
        _ => return Err(unfolded(column, "an array of a rare form")),
    };
    let elements = match text {
        Array::Null => return Ok(Vec::new()),
        Array::Text(text, declared) => {
            if declared != Oid(0) {
                element = element_of(declared)
                    .ok_or_else(|| unfolded(column, "an array of another type"))?;
            }
            let elements = split(&text);
            elements
                .ok_or_else(|| unfolded(column, "an array of a rare form"))?
                .into_iter()
                .map(|element| element.map(|text| (text.into_bytes(), Form::Text)))
                .collect()
        }
        Array::Binary(bytes) => {
            let (declared, elements) =
                binary(bytes).ok_or_else(|| unfolded(column, "an array of a rare form"))?;
            element = declared;
            elements
        }
    };
    let element = match element {
        Oid(0) => oid_of(key_type),
        known => known,
    };
    let mut keys = Vec::new();
    for bytes in elements.into_iter().flatten() {
        let value = match &bytes {
            (bytes, Form::Text) => Value::Text(bytes),
            (bytes, Form::Binary) => Value::Binary(bytes),
        };
        let params = Params { types: &[element], values: &[value] };
        let one = Operand { base: Base::Param(1), steps: Vec::new() };
        let values = Values { params: &params, ..values };
        keys.extend(one.key(column, key_type, Use::Compared, values)?);
    }
    Ok(keys)
}

enum Array<'a> {
    Null,
    /// The text form; the array type the client declared, or 0.
    Text(String, Oid),
    Binary(&'a [u8]),
}

enum Form {
    Text,
    Binary,
}

type Elements = Vec<Option<(Vec<u8>, Form)>>;

fn text<'a>(array: &Operand, values: Values<'a>) -> Result<Array<'a>, Unroutable> {
    let rare = || unfolded("the array", "a literal of a rare form");
    match &array.base {
        Base::Literal(Literal::Null) => Ok(Array::Null),
        Base::Literal(Literal::Text(text)) => Ok(Array::Text(text.clone(), Oid(0))),
        Base::Literal(Literal::Lifted(index)) => {
            let lifted = values.shape.literals.get(*index).ok_or_else(rare)?;
            let text = lifted.value(values.statement).ok_or_else(rare)?;
            Ok(Array::Text(text.into_owned(), Oid(0)))
        }
        Base::Literal(Literal::Boolean(_) | Literal::Number(_) | Literal::Unread) => Err(rare()),
        Base::Param(number) => {
            let index = *number as usize - 1;
            let value = values.params.values.get(index).copied();
            let declared = values.params.types.get(index).copied().unwrap_or_default();
            match value.ok_or(Unroutable::NoParameter(*number))? {
                Value::Null => Ok(Array::Null),
                Value::Text(bytes) => {
                    let text = std::str::from_utf8(bytes).map_err(|_| rare())?;
                    let declared = match declared {
                        oid::UNKNOWN => Oid(0),
                        declared => declared,
                    };
                    Ok(Array::Text(text.to_owned(), declared))
                }
                Value::Binary(bytes) => Ok(Array::Binary(bytes)),
            }
        }
    }
}

/// Array types whose elements can be keys.
fn element_of(array: Oid) -> Option<Oid> {
    Some(match array {
        Oid(1005) => oid::INT2,
        Oid(1007) => oid::INT4,
        Oid(1016) => oid::INT8,
        Oid(1231) => oid::NUMERIC,
        Oid(1009) => oid::TEXT,
        Oid(1015) => oid::VARCHAR,
        Oid(2951) => oid::UUID,
        Oid(1182) => oid::DATE,
        Oid(1185) => oid::TIMESTAMPTZ,
        _ => return None,
    })
}

/// One dimension of `{1,"two",NULL}`. `None`: a form that is left to PostgreSQL.
fn split(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    if inner.trim().is_empty() {
        return Some(Vec::new());
    }
    let mut elements = Vec::new();
    let mut rest = inner;
    loop {
        rest = rest.trim_start();
        let (element, after) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (element, after) = unquote(quoted)?;
                (Some(element), after.trim_start())
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (element, after) = rest.split_at(end);
                let element = element.trim_end();
                if element.is_empty() || element.contains(['{', '}', '"', '\\']) {
                    return None;
                }
                let null = element.eq_ignore_ascii_case("null");
                ((!null).then(|| element.to_owned()), after)
            }
        };
        elements.push(element);
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None if after.is_empty() => return Some(elements),
            None => return None,
        }
    }
}

fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut element = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((element, quoted.get(at + 1..)?)),
            '\\' => element.push(chars.next()?.1),
            char => element.push(char),
        }
    }
    None
}

/// The binary form (`array_recv`): dimensions, flags, element type, then length and bytes of each.
fn binary(bytes: &[u8]) -> Option<(Oid, Elements)> {
    let mut rest = bytes;
    let dimensions = int(&mut rest)?;
    int(&mut rest)?;
    let element = Oid(int(&mut rest)? as u32);
    if dimensions == 0 {
        return Some((element, Vec::new()));
    }
    let count = int(&mut rest)?;
    int(&mut rest)?;
    if dimensions != 1 || count < 0 {
        return None;
    }
    let mut elements = Vec::new();
    for _ in 0..count {
        let length = int(&mut rest)?;
        if length < 0 {
            elements.push(None);
            continue;
        }
        let (element, after) = rest.split_at_checked(length as usize)?;
        elements.push(Some((element.to_vec(), Form::Binary)));
        rest = after;
    }
    rest.is_empty().then_some((element, elements))
}

fn int(rest: &mut &[u8]) -> Option<i32> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(i32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn array_literals_are_split_as_postgresql_splits_them() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(split("{1, 2,NULL}"), Some(vec![some("1"), some("2"), None]));
        assert_eq!(split("{}"), Some(vec![]));
        assert_eq!(split(r#"{"a,b","c\"d",""}"#), Some(vec![some("a,b"), some("c\"d"), some("")]));
        for rare in ["{{1},{2}}", "[0:1]={1,2}", "{1", "{1,}", "{a\\b}", "{\"a\"x}"] {
            assert_eq!(split(rare), None, "{rare}");
        }
    }

    #[test]
    fn binary_arrays_are_read_to_the_last_byte() {
        let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 1];
        bytes.extend([0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 42]);
        let (element, elements) = binary(&bytes).unwrap();
        assert_eq!((element, elements.len()), (Oid(20), 1));
        assert!(binary(&bytes[..bytes.len() - 1]).is_none());
    }
}
