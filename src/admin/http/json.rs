//! A view's table as JSON: columns with types and units, rows as objects in the order of the columns.
use crate::admin::table::{Cell, Column, Kind, Table};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, SerializeStruct, Serializer};

/// `{"view": "pools", "columns": [{"name", "type", "unit"}], "rows": [{…}]}`
pub struct View<'a> {
    pub name: &'a str,
    pub table: &'a Table,
}

struct Columns<'a>(&'a [Column]);

struct Rows<'a>(&'a Table);

struct Row<'a>(&'a [Column], &'a [Cell]);

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut view = to.serialize_struct("View", 3)?;
        view.serialize_field("view", self.name)?;
        view.serialize_field("columns", &Columns(&self.table.columns))?;
        view.serialize_field("rows", &Rows(self.table))?;
        view.end()
    }
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Told {
            name: &'static str,
            r#type: &'static str,
            unit: Option<&'static str>,
        }
        let told = |column: &Column| Told {
            name: column.name,
            r#type: match column.kind {
                Kind::Text => "text",
                Kind::Integer | Kind::Bigint | Kind::Numeric => "integer",
            },
            unit: column.unit(),
        };
        to.collect_seq(self.0.iter().map(told))
    }
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut rows = to.serialize_seq(Some(self.0.rows.len()))?;
        for row in &self.0.rows {
            rows.serialize_element(&Row(&self.0.columns, row))?;
        }
        rows.end()
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut row = to.serialize_map(Some(self.0.len()))?;
        for (column, cell) in self.0.iter().zip(self.1) {
            match cell {
                Cell::Null => row.serialize_entry(column.name, &())?,
                Cell::Text(text) => row.serialize_entry(column.name, text)?,
                Cell::Integer(number) => row.serialize_entry(column.name, number)?,
            }
        }
        row.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::table::{integer, text};

    #[test]
    fn rows_are_objects_and_columns_have_types_and_units() {
        let mut table = Table::new([text("name"), integer("maxwait_us"), integer("server")]);
        table.push(["a \"b\"".into(), Cell::Integer(5), Cell::Null]);
        let json = serde_json::to_string(&View { name: "pools", table: &table }).unwrap();
        assert_eq!(
            json,
            "{\"view\":\"pools\",\"columns\":[{\"name\":\"name\",\"type\":\"text\",\"unit\":null},\
             {\"name\":\"maxwait_us\",\"type\":\"integer\",\"unit\":\"us\"},\
             {\"name\":\"server\",\"type\":\"integer\",\"unit\":null}],\
             \"rows\":[{\"name\":\"a \\\"b\\\"\",\"maxwait_us\":5,\"server\":null}]}"
        );
    }
}
