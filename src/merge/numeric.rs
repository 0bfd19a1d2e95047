//! numeric: its order, and its exact sum.
//!
//! PostgreSQL sends digits to the base 10,000, the first of which has the weight 10,000^`weight`, and
//! the scale that is shown. A sum has the largest scale of what was added.
use std::collections::VecDeque;

const BASE: i64 = 10_000;
const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const MINUS_INFINITY: u16 = 0xF000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Number {
    Finite(Finite),
    NaN,
    Infinity,
    MinusInfinity,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finite {
    negative: bool,
    /// Of the first digit; without digits nothing.
    weight: i32,
    /// Neither the first nor the last is 0.
    digits: Vec<u16>,
    scale: u16,
}

impl Number {
    pub fn from_binary(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<8>()?;
        let [a, b, c, d, e, f, g, h] = *head;
        let (count, sign) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([e, f]));
        let (weight, scale) = (i16::from_be_bytes([c, d]), u16::from_be_bytes([g, h]));
        let (pairs, odd) = rest.as_chunks::<2>();
        if pairs.len() != usize::from(count) || !odd.is_empty() {
            return None;
        }
        let negative = match sign {
            0 => false,
            NEGATIVE => true,
            NAN => return Some(Self::NaN),
            INFINITY => return Some(Self::Infinity),
            MINUS_INFINITY => return Some(Self::MinusInfinity),
            _ => return None,
        };
        let digits: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
        if digits.iter().any(|digit| i64::from(*digit) >= BASE) {
            return None;
        }
        Some(Self::Finite(Finite::new(negative, weight.into(), digits, scale)))
    }

    /// As PostgreSQL prints it.
    pub fn from_text(text: &str) -> Option<Self> {
        match text {
            "NaN" => return Some(Self::NaN),
            "Infinity" => return Some(Self::Infinity),
            "-Infinity" => return Some(Self::MinusInfinity),
            _ => {}
        }
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let decimal = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !decimal(whole) || !decimal(fraction) {
            return None;
        }
        let groups = whole.len().div_ceil(4);
        let mut decimals = vec![b'0'; groups * 4 - whole.len()];
        decimals.extend(whole.bytes().chain(fraction.bytes()));
        decimals.resize(decimals.len().next_multiple_of(4), b'0');
        let (groups_of_four, _) = decimals.as_chunks::<4>();
        let digit = |group: &[u8; 4]| {
            group.iter().fold(0, |sum, byte| sum * 10 + u16::from(byte.wrapping_sub(b'0')))
        };
        let digits = groups_of_four.iter().map(digit).collect();
        let weight = i32::try_from(groups).ok()?.checked_sub(1)?;
        let scale = u16::try_from(fraction.len()).ok()?;
        Some(Self::Finite(Finite::new(negative, weight, digits, scale)))
    }

    pub fn to_binary(&self) -> Vec<u8> {
        let (sign, weight, scale, digits): (u16, i16, u16, &[u16]) = match self {
            Self::NaN => (NAN, 0, 0, &[]),
            Self::Infinity => (INFINITY, 0, 0, &[]),
            Self::MinusInfinity => (MINUS_INFINITY, 0, 0, &[]),
            Self::Finite(number) => {
                let sign = if number.negative { NEGATIVE } else { 0 };
                (sign, number.weight as i16, number.scale, &number.digits)
            }
        };
        let mut bytes = (digits.len() as u16).to_be_bytes().to_vec();
        bytes.extend(weight.to_be_bytes());
        bytes.extend(sign.to_be_bytes());
        bytes.extend(scale.to_be_bytes());
        bytes.extend(digits.iter().flat_map(|digit| digit.to_be_bytes()));
        bytes
    }

    pub fn to_text(&self) -> String {
        match self {
            Self::NaN => "NaN".to_owned(),
            Self::Infinity => "Infinity".to_owned(),
            Self::MinusInfinity => "-Infinity".to_owned(),
            Self::Finite(number) => number.to_text(),
        }
    }

    /// Bytes that compare as the numbers do, whatever their scale.
    pub fn put_key(&self, out: &mut Vec<u8>) {
        let number = match self {
            Self::MinusInfinity => return out.push(0),
            Self::Infinity => return out.push(4),
            Self::NaN => return out.push(5),
            Self::Finite(number) if number.digits.is_empty() => return out.push(2),
            Self::Finite(number) => number,
        };
        out.push(if number.negative { 1 } else { 3 });
        let at = out.len();
        out.extend((number.weight + 0x8000).to_be_bytes());
        // One more, so that the end sorts before all digits.
        out.extend(number.digits.iter().flat_map(|digit| (digit + 1).to_be_bytes()));
        out.extend([0, 0]);
        if number.negative {
            out.iter_mut().skip(at).for_each(|byte| *byte = !*byte);
        }
    }
}

impl Finite {
    fn new(negative: bool, mut weight: i32, mut digits: Vec<u16>, scale: u16) -> Self {
        let leading = digits.iter().take_while(|digit| **digit == 0).count();
        digits.drain(..leading);
        weight -= leading as i32;
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() {
            return Self { negative: false, weight: 0, digits, scale };
        }
        Self { negative, weight, digits, scale }
    }

    fn digit(&self, weight: i32) -> u16 {
        let index = usize::try_from(self.weight - weight).ok();
        index.and_then(|index| self.digits.get(index)).copied().unwrap_or(0)
    }

    fn to_text(&self) -> String {
        let mut text = String::from(if self.negative { "-" } else { "" });
        let top = if self.digits.is_empty() { 0 } else { self.weight.max(0) };
        text.push_str(&self.digit(top).to_string());
        for weight in (0..top).rev() {
            text.push_str(&format!("{:04}", self.digit(weight)));
        }
        let scale = usize::from(self.scale);
        if scale > 0 {
            text.push('.');
            let fraction: String = (1..=scale.div_ceil(4) as i32)
                .map(|place| format!("{:04}", self.digit(-place)))
                .collect();
            text.push_str(fraction.get(..scale).unwrap_or(&fraction));
        }
        text
    }
}

/// Adds numbers up, exactly.
#[derive(Clone, Default, Debug)]
pub struct Sum {
    /// Base 10,000, not carried yet: so many numbers can be added before one overflows that nobody
    /// lives to see it. The first has the weight `top`.
    digits: VecDeque<i64>,
    top: i32,
    scale: u16,
    nan: bool,
    infinity: bool,
    minus_infinity: bool,
}

/// Larger than PostgreSQL's numbers can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Overflow;

impl Sum {
    pub fn add(&mut self, number: &Number) {
        let number = match number {
            Number::NaN => return self.nan = true,
            Number::Infinity => return self.infinity = true,
            Number::MinusInfinity => return self.minus_infinity = true,
            Number::Finite(number) => number,
        };
        self.scale = self.scale.max(number.scale);
        if number.digits.is_empty() {
            return;
        }
        if self.digits.is_empty() {
            self.top = number.weight;
        }
        while self.top < number.weight {
            self.digits.push_front(0);
            self.top += 1;
        }
        let start = usize::try_from(self.top - number.weight).unwrap_or_default();
        let needed = start + number.digits.len();
        if self.digits.len() < needed {
            self.digits.resize(needed, 0);
        }
        for (place, digit) in self.digits.iter_mut().skip(start).zip(&number.digits) {
            let digit = i64::from(*digit);
            *place += if number.negative { -digit } else { digit };
        }
    }

    pub fn result(&self) -> Result<Number, Overflow> {
        match (self.nan, self.infinity, self.minus_infinity) {
            (true, _, _) | (_, true, true) => return Ok(Number::NaN),
            (false, true, false) => return Ok(Number::Infinity),
            (false, false, true) => return Ok(Number::MinusInfinity),
            (false, false, false) => {}
        }
        let plain = carried(self.digits.iter().copied());
        let negative = plain.front().is_some_and(|first| *first < 0);
        let magnitude = match negative {
            false => plain,
            true => carried(self.digits.iter().map(|digit| -digit)),
        };
        let weight = self.top + magnitude.len() as i32 - self.digits.len() as i32;
        let digits = magnitude.iter().map(|digit| *digit as u16).collect();
        let number = Finite::new(negative, weight, digits, self.scale);
        match i16::try_from(number.weight) {
            Ok(_) => Ok(Number::Finite(number)),
            Err(_) => Err(Overflow),
        }
    }
}

/// Every digit but the first from 0 to 9,999; the first is below 0 if the number is.
fn carried(digits: impl DoubleEndedIterator<Item = i64>) -> VecDeque<i64> {
    let (mut carried, mut carry) = (VecDeque::new(), 0);
    for digit in digits.rev() {
        let sum: i64 = digit + carry;
        carry = sum.div_euclid(BASE);
        carried.push_front(sum.rem_euclid(BASE));
    }
    while carry > 0 {
        carried.push_front(carry % BASE);
        carry /= BASE;
    }
    if carry < 0 {
        carried.push_front(carry);
    }
    carried
}
