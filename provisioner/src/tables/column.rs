//! A column: what kind of values it has, how a statement reads them without loss, and whether they fit into another
//! column.

use kernel::database::sql::{self, Form, Unquotable};

/// A column as its server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `varchar`, `bigint`, ...
    pub data_type: String,
    /// `varchar(36)`, `bigint(20) unsigned`, ...
    pub column_type: String,
    pub nullable: bool,
    /// The character set of a text, an enumeration or a set.
    pub charset: Option<String>,
    /// The most bytes of a text or binary value.
    pub octets: Option<u64>,
    /// The most characters of a text.
    pub characters: Option<u64>,
    /// All digits of a number, and the digits behind its point.
    pub precision: Option<(u64, u64)>,
    /// Digits of the fraction of a time's seconds.
    pub fraction: Option<u64>,
    /// The server computes the column from others, so it is never written.
    pub generated: bool,
    /// Its default has a question mark, by which a definition stands for what UTF-8 cannot say.
    pub doubtful_default: bool,
}

/// Kinds of values that are read and written alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Whole numbers.
    Integer,
    /// Exact numbers with a point.
    Decimal,
    /// Numbers of limited precision.
    Float,
    Text,
    /// Bytes of no character set.
    Bytes,
    Bits,
    /// Values that only fit into a column of the same type: times, enumerations, JSON and others.
    Other,
}

/// Character sets of which every text is the same text in UTF-8 and comes back to the same bytes. Others have bytes for
/// which UTF-8 has no character, or several for one character.
const SAID_IN_UTF8: [&str; 5] = ["utf8mb4", "utf8mb3", "utf8", "ascii", "latin1"];

impl Column {
    pub fn family(&self) -> Family {
        match self.data_type.as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Family::Integer,
            "decimal" => Family::Decimal,
            "float" | "double" => Family::Float,
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Family::Text,
            "bit" => Family::Bits,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Family::Bytes,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "vector" => Family::Bytes,
            _ => Family::Other,
        }
    }

    /// Whether its character set says what UTF-8 cannot say.
    pub fn has_foreign_charset(&self) -> bool {
        self.charset.as_ref().is_some_and(|charset| !SAID_IN_UTF8.contains(&charset.as_str()))
    }

    /// Whether its definition may have values that UTF-8 cannot say, in which definitions are read.
    pub fn is_unsayable(&self) -> bool {
        let listed = matches!(self.data_type.as_str(), "enum" | "set") && self.column_type.contains('?');
        self.has_foreign_charset() && (listed || self.doubtful_default)
    }

    /// Whether it holds text whose bytes a conversion to UTF-8 might change.
    pub fn is_foreign_text(&self) -> bool {
        self.family() == Family::Text && self.has_foreign_charset()
    }

    /// Whether it holds dates, which may be the impossible date of zeros.
    pub fn is_date(&self) -> bool {
        matches!(self.data_type.as_str(), "date" | "datetime" | "timestamp")
    }

    /// How a statement writes its values.
    pub fn form(&self) -> Form {
        match self.family() {
            Family::Integer | Family::Decimal | Family::Float | Family::Bits => Form::Number,
            Family::Text | Family::Other => Form::Text,
            Family::Bytes => Form::Bytes,
        }
    }

    /// Expression that reads a column of this type and this name without loss. `as_bytes` reads a text as the bytes
    /// that it has in its own character set.
    pub fn exact(&self, name: &str, as_bytes: bool) -> Result<String, Unquotable> {
        let name = sql::identifier(name)?;
        Ok(match self.family() {
            _ if as_bytes => format!("CAST({name} AS BINARY)"),
            // A FLOAT shows six digits and stores more.
            Family::Float => format!("CAST({name} AS DOUBLE)"),
            Family::Bits => format!("CAST({name} AS UNSIGNED)"),
            _ => name.to_string(),
        })
    }

    fn rank(&self) -> u8 {
        ["tinyint", "smallint", "mediumint", "int", "bigint"]
            .iter()
            .position(|name| *name == self.data_type)
            .map_or(0, |rank| rank as u8)
    }

    /// Whether it holds bytes of any length.
    fn is_blob(&self) -> bool {
        ["varbinary", "tinyblob", "blob", "mediumblob", "longblob"].contains(&self.data_type.as_str())
    }

    /// Whether every value of this column fits into `target` and stays what it is.
    pub fn fit(&self, target: &Self) -> Fit {
        let (family, to) = (self.family(), target.family());
        let unsigned = |column: &Self| column.column_type.contains("unsigned");
        let fits = match (family, to) {
            (Family::Integer, Family::Integer) if unsigned(self) == unsigned(target) => self.rank() <= target.rank(),
            // Every unsigned value fits into a longer signed column.
            (Family::Integer, Family::Integer) if unsigned(self) && self.rank() < target.rank() => true,
            (Family::Decimal, Family::Decimal) => match (self.precision, target.precision) {
                (Some((digits, scale)), Some((room, target_scale))) if scale == target_scale => digits <= room,
                // Digits behind the point are added, and none before it are taken away.
                (Some((digits, scale)), Some((room, target_scale)))
                    if scale > target_scale && digits - scale >= room - target_scale =>
                {
                    false
                }
                _ => return Fit::Never,
            },
            (Family::Text, Family::Text) => {
                let long = |column: &Self| column.data_type.ends_with("text");
                match (long(self), long(target)) {
                    (false, false) => self.characters <= target.characters,
                    // TEXT is limited in bytes, and a character may need four of them.
                    (false, true) => self.characters.unwrap_or(0) * 4 <= target.octets.unwrap_or(0),
                    (true, _) => long(target) && self.octets <= target.octets,
                }
            }
            (Family::Bytes, Family::Bytes) if self.data_type == target.data_type => self.octets <= target.octets,
            (Family::Bytes, Family::Bytes) if self.is_blob() && target.is_blob() => self.octets <= target.octets,
            (Family::Float, Family::Float) if self.data_type != target.data_type => self.data_type == "float",
            (Family::Other | Family::Float | Family::Bits, _) if self.data_type == target.data_type => {
                match self.fraction <= target.fraction {
                    true if self.fraction == target.fraction => {
                        self.column_type == target.column_type || self.is_date()
                    }
                    true => return Fit::Never,
                    false => false,
                }
            }
            _ => return Fit::Never,
        };
        if fits { Fit::Yes } else { Fit::Widened }
    }
}

/// The answer of [`Column::fit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Every value fits.
    Yes,
    /// Every value fits once the target has the source's type.
    Widened,
    /// The types are of different kinds.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(column_type: &str, octets: u64, characters: u64) -> Column {
        Column {
            name: "c".into(),
            data_type: column_type.split('(').next().unwrap().into(),
            column_type: column_type.into(),
            nullable: false,
            charset: None,
            octets: Some(octets),
            characters: Some(characters),
            precision: Some((10, 2)),
            fraction: Some(0),
            generated: false,
            doubtful_default: false,
        }
    }

    #[test]
    fn a_narrower_column_never_fits() {
        let text = column("text", 65535, 65535);
        let long = column("longtext", u64::from(u32::MAX), u64::from(u32::MAX));
        let short = column("varchar(36)", 144, 36);
        assert_eq!(long.fit(&text), Fit::Widened);
        assert_eq!(text.fit(&long), Fit::Yes);
        assert_eq!(short.fit(&column("varchar(32)", 128, 32)), Fit::Widened);
        assert_eq!(short.fit(&text), Fit::Yes);
        assert_eq!(text.fit(&short), Fit::Widened);
        assert_eq!(column("int(11)", 0, 0).fit(&column("smallint(6)", 0, 0)), Fit::Widened);
        assert_eq!(column("smallint(6)", 0, 0).fit(&column("int(11)", 0, 0)), Fit::Yes);
        assert_eq!(column("int(11) unsigned", 0, 0).fit(&column("bigint(20)", 0, 0)), Fit::Yes);
        assert_eq!(column("int(11) unsigned", 0, 0).fit(&column("int(11)", 0, 0)), Fit::Never);
        assert_eq!(column("float", 0, 0).fit(&column("double", 0, 0)), Fit::Yes);
        assert_eq!(column("longblob", 9, 0).fit(&column("blob", 5, 0)), Fit::Widened);
        let decimal = |digits, scale| Column { precision: Some((digits, scale)), ..column("decimal(1,1)", 0, 0) };
        assert_eq!(decimal(12, 4).fit(&decimal(10, 2)), Fit::Widened);
        assert_eq!(decimal(10, 4).fit(&decimal(10, 2)), Fit::Never);
        assert_eq!(decimal(12, 0).fit(&decimal(10, 2)), Fit::Never);
        assert_eq!(column("datetime", 0, 0).fit(&column("timestamp", 0, 0)), Fit::Never);
        assert_eq!(text.fit(&column("int(11)", 0, 0)), Fit::Never);
        let precise = Column { fraction: Some(6), ..column("datetime(6)", 0, 0) };
        assert_eq!(precise.fit(&column("datetime", 0, 0)), Fit::Widened);
        assert_eq!(column("datetime", 0, 0).fit(&precise), Fit::Never);
        assert_eq!(column("decimal(10,2)", 0, 0).fit(&column("decimal(10,2)", 0, 0)), Fit::Yes);
    }
}
