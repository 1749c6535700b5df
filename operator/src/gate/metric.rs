//! Makes metrics: whether an actual value compares with the expected one as it has to.

use std::cmp::Ordering;

use launchway_crds::step::{Comparator, METRIC_NAME_MAX, METRIC_VALUE_MAX, Metric, Severity};

/// What a metric has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule<'a> {
    /// Name of the metric.
    pub name: &'a str,
    /// What a failure means.
    pub severity: Severity,
    /// How the actual value has to compare.
    pub comparator: Comparator,
    /// With what.
    pub expected: &'a str,
}

/// A metric: `rule` applied to an actual value.
///
/// Numbers compare as numbers (`50.4`), letters `A` to `F` as grades (`A` is the greatest: `A GTE B` passes,
/// `cloud-manager.md §2.5`), other words are equal or not.
///
/// # Errors
/// When a text is empty, too long or not printable, a name has other characters than `A-Za-z0-9_.-`, or the two values
/// cannot be compared.
pub fn metric(rule: Rule<'_>, actual: &str) -> Result<Metric, String> {
    let name = rule.name;
    let named = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if name.is_empty() || name.len() > METRIC_NAME_MAX || !name.chars().all(named) || name.starts_with(['_', '.', '-'])
    {
        return Err(format!(
            "`{}` is no name of a metric: 1 to {METRIC_NAME_MAX} of A-Z a-z 0-9 _ . -, the first a letter or digit",
            name.chars().take(80).collect::<String>().escape_debug()
        ));
    }
    for (field, text) in [("expected", rule.expected), ("actual", actual)] {
        if text.is_empty() || text.len() > METRIC_VALUE_MAX || text.chars().any(char::is_control) {
            return Err(format!(
                "metric {name}: {field} must be 1 to {METRIC_VALUE_MAX} bytes of text without control characters"
            ));
        }
    }
    let passed = compares(actual, rule.comparator, rule.expected).map_err(|why| format!("metric {name}: {why}"))?;
    Ok(Metric {
        name: name.into(),
        severity: rule.severity,
        comparator: rule.comparator,
        expected: rule.expected.into(),
        actual: actual.into(),
        passed,
    })
}

/// A count that has to be 0.
///
/// Its name has to be a literal of ours that keeps the rules of [`metric`].
#[must_use]
pub fn none_of(name: &'static str, severity: Severity, actual: u64) -> Metric {
    Metric {
        name: name.into(),
        severity,
        comparator: Comparator::Eq,
        expected: "0".into(),
        actual: actual.to_string(),
        passed: actual == 0,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value<'a> {
    /// From 0 for `A` to 5 for `F`.
    Grade(u8),
    Number(f64),
    Word(&'a str),
}

impl Value<'_> {
    const fn kind(self) -> &'static str {
        match self {
            Self::Grade(_) => "a grade",
            Self::Number(_) => "a number",
            Self::Word(_) => "a word",
        }
    }
}

fn value(text: &str) -> Value<'_> {
    if let [grade @ b'A'..=b'F'] = text.as_bytes() {
        return Value::Grade(grade - b'A');
    }
    // `f64` reads more than decimal numbers: `inf`, `NaN`, `1e400`.
    let decimal = |c: char| c.is_ascii_digit() || c == '.' || c == '-';
    match text.parse::<f64>() {
        Ok(number) if text.chars().all(decimal) && number.is_finite() => Value::Number(number),
        _ => Value::Word(text),
    }
}

fn compares(actual: &str, comparator: Comparator, expected: &str) -> Result<bool, String> {
    let (found, wanted) = (value(actual), value(expected));
    let order = match (found, wanted) {
        (Value::Grade(found), Value::Grade(wanted)) => wanted.cmp(&found),
        (Value::Number(found), Value::Number(wanted)) => found.partial_cmp(&wanted).unwrap_or(Ordering::Less),
        (Value::Word(found), Value::Word(wanted)) if matches!(comparator, Comparator::Eq | Comparator::Neq) => {
            if found == wanted { Ordering::Equal } else { Ordering::Less }
        }
        (Value::Word(_), Value::Word(_)) => {
            return Err(format!("`{actual}` and `{expected}` are words, and words are compared with EQ or NEQ alone"));
        }
        _ => {
            return Err(format!(
                "actual `{actual}` is {} and expected `{expected}` is {}: both must be numbers, grades A to F, or words",
                found.kind(),
                wanted.kind()
            ));
        }
    };
    Ok(match comparator {
        Comparator::Gt => order.is_gt(),
        Comparator::Gte => order.is_ge(),
        Comparator::Lt => order.is_lt(),
        Comparator::Lte => order.is_le(),
        Comparator::Eq => order.is_eq(),
        Comparator::Neq => order.is_ne(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Comparator::{Eq, Gt, Gte, Lt, Lte, Neq};

    fn passed(actual: &str, comparator: Comparator, expected: &str) -> Result<bool, String> {
        metric(Rule { name: "m", severity: Severity::Important, comparator, expected }, actual)
            .map(|metric| metric.passed)
    }

    #[test]
    fn grades_compare_by_grade() {
        // cloud-manager.md §2.5: "actual A, GTE B passes"
        for (actual, comparator, expected, wanted) in [
            ("A", Gte, "B", true),
            ("B", Gte, "B", true),
            ("C", Gte, "B", false),
            ("A", Eq, "A", true),
            ("B", Eq, "A", false),
            ("A", Gt, "B", true),
            ("F", Lt, "A", true),
            ("E", Lte, "D", true),
            ("D", Neq, "D", false),
        ] {
            assert_eq!(passed(actual, comparator, expected), Ok(wanted), "{actual} {comparator:?} {expected}");
        }
    }

    #[test]
    fn numbers_compare_as_numbers() {
        for (actual, comparator, expected, wanted) in [
            ("50.4", Gte, "50", true),
            ("9", Lt, "10", true),
            ("50.40", Eq, "50.4", true),
            ("-0", Eq, "0", true),
            ("-1.5", Lt, "-1", true),
            ("18000", Lt, "18000", false),
        ] {
            assert_eq!(passed(actual, comparator, expected), Ok(wanted), "{actual} {comparator:?} {expected}");
        }
    }

    #[test]
    fn words_are_equal_or_not() {
        assert_eq!(passed("enabled", Eq, "enabled"), Ok(true));
        assert_eq!(passed("enabled", Neq, "disabled"), Ok(true));
        assert!(passed("new", Gt, "old").unwrap_err().contains("EQ or NEQ alone"));
    }

    #[test]
    fn values_of_two_kinds_are_an_error_that_names_the_metric() {
        for (actual, expected) in [("A", "50"), ("50", "B"), ("high", "3"), ("NaN", "1"), ("1e400", "1"), ("inf", "1")]
        {
            let error = passed(actual, Eq, expected).unwrap_err();
            assert!(error.starts_with("metric m: actual"), "{error}");
        }
    }

    #[test]
    fn hostile_texts_are_refused() {
        let long = "x".repeat(65);
        for name in ["", "-a", "a b", "ä", "a\n", long.as_str()] {
            let rule = Rule { name, severity: Severity::Critical, comparator: Eq, expected: "0" };
            assert!(metric(rule, "0").unwrap_err().contains("is no name of a metric"), "{name}");
        }
        for actual in ["", "\u{1b}[2J", long.as_str()] {
            assert!(passed(actual, Eq, "0").unwrap_err().contains("actual must be"), "{actual:?}");
        }
    }
}
