//! Who has to show what, as pg_hba.conf says it: the first line that fits a client decides.
//!
//! PostgreSQL manual, "The pg_hba.conf File", as far as PgBouncer reads it: `local`, `host`, `hostssl`,
//! `hostnossl`; names, lists, `all`, `sameuser`, `@file`; addresses as CIDR or with a mask. What weir does
//! not do is an error with its line, never a line that is left out: it might be the one that rejects.
use super::client::Method;
use std::net::IpAddr;

/// A file's lines, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Hba {
    lines: Vec<Line>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Line {
    lines: Lines,
    databases: Vec<Name>,
    users: Vec<Name>,
    way: Way,
}

/// Which of the clients' lines are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Lines {
    Local,
    Tcp(Privacy, Network),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Privacy {
    Any,
    Tls,
    Plain,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Network {
    All,
    Of { address: IpAddr, bits: u8 },
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Name {
    All,
    /// The database that is called as the user.
    SameUser,
    Is(String),
}

/// What a client has to show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    Reject,
    /// That the system's user on the other side of a Unix socket has the same name.
    Peer,
    Ask(Method),
}

/// Where a client comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Over a Unix socket; the system's number of the user there, if it is known.
    Local {
        uid: Option<u32>,
    },
    Host(IpAddr, u16),
}

/// Who asks to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    pub origin: Origin,
    pub tls: bool,
    pub database: &'a str,
    pub user: &'a str,
}

/// A line that cannot be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadLine {
    pub line: usize,
    pub problem: String,
}

impl Hba {
    /// Reads the file's text; `read` is asked for the files that `@file` names.
    pub fn parse(
        text: &str,
        mut read: impl FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, Vec<BadLine>> {
        let (mut lines, mut bad) = (Vec::new(), Vec::new());
        for (index, line) in text.lines().enumerate() {
            let read = fields(line).and_then(|fields| entry(&fields, &mut read));
            match read {
                Ok(entry) => lines.extend(entry),
                Err(problem) => bad.push(BadLine { line: index + 1, problem }),
            }
        }
        if bad.is_empty() { Ok(Self { lines }) } else { Err(bad) }
    }

    /// What the first line that fits says; `None`: there is none.
    pub fn way(&self, visitor: &Visitor<'_>) -> Option<Way> {
        self.lines.iter().find(|line| line.fits(visitor)).map(|line| line.way)
    }

    pub fn asks_for_peers(&self) -> bool {
        self.lines.iter().any(|line| line.way == Way::Peer)
    }
}

impl Line {
    fn fits(&self, visitor: &Visitor<'_>) -> bool {
        let right_line = match (&self.lines, visitor.origin) {
            (Lines::Local, Origin::Local { .. }) => true,
            (Lines::Tcp(privacy, network), Origin::Host(address, _)) => {
                let private = match privacy {
                    Privacy::Any => true,
                    Privacy::Tls => visitor.tls,
                    Privacy::Plain => !visitor.tls,
                };
                private && network.has(address)
            }
            (Lines::Local, Origin::Host(..)) | (Lines::Tcp(..), Origin::Local { .. }) => false,
        };
        right_line
            && self.databases.iter().any(|name| name.is(visitor.database, visitor.user))
            && self.users.iter().any(|name| name.is(visitor.user, visitor.user))
    }
}

impl Name {
    fn is(&self, name: &str, user: &str) -> bool {
        match self {
            Name::All => true,
            Name::SameUser => name == user,
            Name::Is(this) => this == name,
        }
    }
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        // A client of a listener for both families comes as ::ffff:1.2.3.4.
        match (self, address.to_canonical()) {
            (Network::All, _) => true,
            (Network::Of { address: IpAddr::V4(network), bits }, IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (Network::Of { address: IpAddr::V6(network), bits }, IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (Network::Of { .. }, IpAddr::V4(_) | IpAddr::V6(_)) => false,
        }
    }
}

/// A field: words that commas separate, each with or without quotes.
type Field = Vec<Word>;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Word {
    text: String,
    /// Then it is a name, whatever it says.
    quoted: bool,
}

fn fields(line: &str) -> Result<Vec<Field>, String> {
    let (mut fields, mut field): (Vec<Field>, Field) = (Vec::new(), Vec::new());
    let mut rest = line.chars().peekable();
    let mut continues = false;
    while let Some(&next) = rest.peek() {
        match next {
            '#' => break,
            ',' => {
                continues = true;
                rest.next();
            }
            _ if next.is_whitespace() => {
                rest.next();
                if !continues && !field.is_empty() && rest.peek() != Some(&',') {
                    fields.push(std::mem::take(&mut field));
                }
            }
            _ => {
                if !continues && !field.is_empty() {
                    fields.push(std::mem::take(&mut field));
                }
                continues = false;
                let mut word = Word { text: String::new(), quoted: false };
                let mut open = false;
                while let Some(&letter) = rest.peek() {
                    let ends = letter.is_whitespace() || matches!(letter, ',' | '#');
                    if ends && !open {
                        break;
                    }
                    rest.next();
                    match letter {
                        '"' => {
                            open = !open;
                            word.quoted = true;
                        }
                        _ => word.text.push(letter),
                    }
                }
                if open {
                    return Err("a quoted name does not end".to_owned());
                }
                field.push(word);
            }
        }
    }
    if !field.is_empty() {
        fields.push(field);
    }
    Ok(fields)
}

fn entry(
    fields: &[Field],
    read: &mut impl FnMut(&str) -> Result<String, String>,
) -> Result<Option<Line>, String> {
    let mut fields = fields.iter();
    let Some(kind) = fields.next() else { return Ok(None) };
    let kind = one(kind)?;
    let privacy = match kind {
        "local" => None,
        "host" => Some(Privacy::Any),
        "hostssl" => Some(Privacy::Tls),
        "hostnossl" => Some(Privacy::Plain),
        _ => return Err(format!("\"{kind}\" is not local, host, hostssl or hostnossl")),
    };
    let databases = names(fields.next().ok_or("the line ends before the database")?, read)?;
    let users = names(fields.next().ok_or("the line ends before the user")?, read)?;
    if users.contains(&Name::SameUser) {
        return Err("sameuser is a database, not a user".to_owned());
    }
    let mut rest = fields.clone();
    let lines = match privacy {
        None => Lines::Local,
        Some(privacy) => {
            let address = one(rest.next().ok_or("the line ends before the address")?)?;
            Lines::Tcp(privacy, network(address, &mut rest)?)
        }
    };
    let way = way(one(rest.next().ok_or("the line ends before the method")?)?)?;
    if let Some(option) = rest.next() {
        let option = one(option)?;
        return Err(format!("the option \"{option}\" is not supported"));
    }
    if way == Way::Peer && lines != Lines::Local {
        return Err("peer is for local lines only".to_owned());
    }
    Ok(Some(Line { lines, databases, users, way }))
}

fn one(field: &Field) -> Result<&str, String> {
    match field.as_slice() {
        [word] => Ok(&word.text),
        _ => Err("a list stands where one word is expected".to_owned()),
    }
}

fn names(
    field: &Field,
    read: &mut impl FnMut(&str) -> Result<String, String>,
) -> Result<Vec<Name>, String> {
    let mut names = Vec::new();
    for Word { text, quoted } in field {
        match text.as_str() {
            _ if *quoted => names.push(Name::Is(text.clone())),
            "all" => names.push(Name::All),
            "sameuser" => names.push(Name::SameUser),
            // Nobody is let in for replication, whatever a line says.
            "replication" => {}
            "samerole" | "samegroup" => return Err(format!("{text} is not supported")),
            _ if text.starts_with('+') => {
                return Err(format!("weir does not know who is in the role \"{text}\""));
            }
            _ if text.starts_with('/') => {
                return Err(format!("regular expressions are not supported: \"{text}\""));
            }
            _ => match text.strip_prefix('@') {
                None => names.push(Name::Is(text.clone())),
                Some(file) => {
                    for line in read(file)?.lines() {
                        let listed = fields(line)?.into_iter().flatten();
                        names.extend(listed.map(|word| Name::Is(word.text)));
                    }
                }
            },
        }
    }
    Ok(names)
}

/// `10.0.0.0/8`, or an address with a mask behind it.
fn network<'a>(text: &str, rest: &mut impl Iterator<Item = &'a Field>) -> Result<Network, String> {
    if text == "all" {
        return Ok(Network::All);
    }
    let bad = || format!("\"{text}\" is no address: write 10.0.0.0/8, ::1/128 or all");
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => {
            let address: IpAddr = address.parse().map_err(|_| bad())?;
            (address, bits.parse().map_err(|_| bad())?)
        }
        None => {
            let address: IpAddr = text.parse().map_err(|_| bad())?;
            let mask = one(rest.next().ok_or("the address has neither /bits nor a mask")?)?;
            let mask: IpAddr = mask.parse().map_err(|_| format!("\"{mask}\" is no mask"))?;
            let (ones, zeros) = match mask {
                IpAddr::V4(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
                IpAddr::V6(mask) => (mask.to_bits().leading_ones(), mask.to_bits().count_ones()),
            };
            if ones != zeros || mask.is_ipv4() != address.is_ipv4() {
                return Err(format!("\"{mask}\" is no mask of {address}"));
            }
            (address, u8::try_from(ones).unwrap_or(u8::MAX))
        }
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    if bits > most { Err(bad()) } else { Ok(Network::Of { address, bits }) }
}

fn way(text: &str) -> Result<Way, String> {
    match text {
        "reject" => Ok(Way::Reject),
        "peer" => Ok(Way::Peer),
        "trust" => Ok(Way::Ask(Method::Trust)),
        "md5" => Ok(Way::Ask(Method::Md5)),
        "scram-sha-256" => Ok(Way::Ask(Method::Scram)),
        "password" | "plain" => Ok(Way::Ask(Method::Password)),
        _ => Err(format!(
            "the method \"{text}\" is not supported: trust, reject, peer, md5, scram-sha-256, password are"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Hba {
        Hba::parse(text, |file| match file {
            "admins" => Ok("# who\nroot,\n\"Mr X\"\n".to_owned()),
            _ => Err(format!("{file}: no such file")),
        })
        .unwrap_or_else(|bad| panic!("{bad:?}"))
    }

    fn host(address: &str) -> Origin {
        Origin::Host(address.parse().unwrap(), 4711)
    }

    fn check(hba: &Hba, origin: Origin, database: &str, user: &str, expected: Option<Way>) {
        let visitor = Visitor { origin, tls: false, database, user };
        assert_eq!(hba.way(&visitor), expected, "{visitor:?}");
    }

    const LOCAL: Origin = Origin::Local { uid: None };
    const SCRAM: Option<Way> = Some(Way::Ask(Method::Scram));

    #[test]
    fn the_first_line_that_fits_decides() {
        let hba = parsed(
            "# TYPE DATABASE USER ADDRESS METHOD\n\
             local all @admins peer\n\
             host shop,\"all\" ann , bob 10.1.0.0/16 reject # for now\n\
             host sameuser all 192.168.1.0 255.255.255.0 trust\n\
             host all all ::1/128 md5\n\
             host \"shop\" all all scram-sha-256\n",
        );
        check(&hba, LOCAL, "shop", "root", Some(Way::Peer));
        check(&hba, LOCAL, "shop", "Mr X", Some(Way::Peer));
        check(&hba, LOCAL, "shop", "ann", None);
        check(&hba, host("10.1.200.3"), "shop", "bob", Some(Way::Reject));
        check(&hba, host("10.1.200.3"), "all", "ann", Some(Way::Reject));
        check(&hba, host("::ffff:10.1.2.3"), "all", "ann", Some(Way::Reject));
        check(&hba, host("10.1.200.3"), "other", "ann", None);
        check(&hba, host("10.2.0.1"), "shop", "bob", SCRAM);
        check(&hba, host("192.168.1.77"), "eve", "eve", Some(Way::Ask(Method::Trust)));
        check(&hba, host("192.168.2.77"), "eve", "eve", None);
        check(&hba, host("::1"), "eve", "any", Some(Way::Ask(Method::Md5)));
        check(&hba, host("::2"), "shop", "any", SCRAM);
    }

    #[test]
    fn private_and_plain_lines_are_told_apart() {
        let hba = parsed("hostssl all all 0.0.0.0/0 password\nhostnossl all all all reject\n");
        let at = |tls| Visitor { origin: host("8.8.8.8"), tls, database: "a", user: "b" };
        assert_eq!(hba.way(&at(true)), Some(Way::Ask(Method::Password)));
        assert_eq!(hba.way(&at(false)), Some(Way::Reject));
    }

    #[test]
    fn what_is_not_understood_is_an_error_with_its_line() {
        let bad = Hba::parse(
            "host all all samenet md5\n\nhost all +staff all md5\nhost all all all ldap\n\
             local all all md5 map=x\nhost all all 10.0.0.0/33 md5\nhost all all 10.0.0.0 255.0.255.0 md5\n\
             hostgssenc all all all md5\nlocal all @none md5\nhost all\nhost all all all peer\n\
             local all \"open md5\n",
            |file| Err(format!("{file}: no such file")),
        )
        .unwrap_err();
        let lines: Vec<_> = bad.iter().map(|bad| bad.line).collect();
        assert_eq!(lines, [1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "{bad:?}");
    }
}
