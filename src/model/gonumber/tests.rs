use super::*;

/// Expected values come from Go 1.26.
#[test]
fn floats() {
    use NoNumber::{Range, Syntax};
    let inf = f64::INFINITY;
    for (text, want) in [
        ("1_000", Ok(1000.0)),
        ("1_0.5", Ok(10.5)),
        ("0x1F", Err(Syntax)),
        ("0x1p-2", Ok(0.25)),
        ("-0x1p-2", Ok(-0.25)),
        ("0x_1p4", Ok(16.0)),
        ("0X1.8P1", Ok(3.0)),
        ("0x1_0p0", Ok(16.0)),
        ("inf", Ok(inf)),
        ("+Inf", Ok(inf)),
        ("-infinity", Ok(-inf)),
        ("iNfInItY", Ok(inf)),
        ("infi", Err(Syntax)),
        ("+nan", Err(Syntax)),
        ("-nan", Err(Syntax)),
        ("1e400", Err(Range(inf))),
        ("-1e400", Err(Range(-inf))),
        ("1e", Err(Syntax)),
        ("1.", Ok(1.0)),
        (".", Err(Syntax)),
        ("", Err(Syntax)),
        ("+", Err(Syntax)),
        ("--1", Err(Syntax)),
        (".5", Ok(0.5)),
        ("+5", Ok(5.0)),
        ("0b11", Err(Syntax)),
        ("0o17", Err(Syntax)),
        ("017", Ok(17.0)),
        ("1__0", Err(Syntax)),
        ("_1", Err(Syntax)),
        ("1_", Err(Syntax)),
        ("1._5", Err(Syntax)),
        ("1_.5", Err(Syntax)),
        ("1e1_0", Ok(1e10)),
        ("0_1", Ok(1.0)),
        ("0_1.5", Ok(1.5)),
        ("0x", Err(Syntax)),
        ("0xp1", Err(Syntax)),
        ("0x.p1", Err(Syntax)),
        ("0x1.p1", Ok(2.0)),
        ("0x.8p1", Ok(1.0)),
        ("0x1p", Err(Syntax)),
        ("0x1p+", Err(Syntax)),
        ("0x1.8_0p1", Ok(3.0)),
        ("0x1p1_0", Ok(1024.0)),
        ("0x1p2000", Err(Range(inf))),
        ("0x1p99999999999999999999", Err(Range(inf))),
        ("0x1p0000000000000000000001", Ok(2.0)),
        ("0x1p-2000", Ok(0.0)),
        ("0x0p9999", Ok(0.0)),
        ("0x1.fffffffffffff8p0", Ok(2.0)),
        ("0x1.fffffffffffff7p1023", Ok(f64::MAX)),
        ("0x1.fffffffffffff8p1023", Err(Range(inf))),
        ("0x1p-1074", Ok(5e-324)),
        ("0x1p-1075", Ok(0.0)),
        ("0x1.8p-1075", Ok(5e-324)),
        ("0x1.8p-1074", Ok(1e-323)),
        ("0x1p-1022", Ok(f64::MIN_POSITIVE)),
        ("0x123456789abcdef01p0", Ok(20988295479420645000.0)),
        ("1e-400", Ok(0.0)),
        (" 1", Err(Syntax)),
        ("1 ", Err(Syntax)),
        ("1e99999999999", Err(Range(inf))),
        ("1f", Err(Syntax)),
        ("１", Err(Syntax)),
    ] {
        assert_eq!(parse_float(text), want, "{text:?}");
    }
    assert!(parse_float("NaN").is_ok_and(f64::is_nan));
    assert!(parse_float("-0x0p0").is_ok_and(|zero| zero == 0.0 && zero.is_sign_negative()));
}

/// Expected values come from Go 1.26, in base 0 and base 10.
#[test]
fn integers() {
    use NoNumber::{Range, Syntax};
    for (text, zero, ten) in [
        ("1_000", Ok(1000), Err(Syntax)),
        ("0x1F", Ok(31), Err(Syntax)),
        ("0b11", Ok(3), Err(Syntax)),
        ("0o17", Ok(15), Err(Syntax)),
        ("017", Ok(15), Ok(17)),
        ("08", Err(Syntax), Ok(8)),
        ("0_8", Err(Syntax), Err(Syntax)),
        ("0_7", Ok(7), Err(Syntax)),
        ("0", Ok(0), Ok(0)),
        ("00", Ok(0), Ok(0)),
        ("-0x1", Ok(-1), Err(Syntax)),
        ("+0X1f", Ok(31), Err(Syntax)),
        ("0x_1", Ok(1), Err(Syntax)),
        ("0x", Err(Syntax), Err(Syntax)),
        ("0x-1", Err(Syntax), Err(Syntax)),
        ("1__0", Err(Syntax), Err(Syntax)),
        ("_1", Err(Syntax), Err(Syntax)),
        ("1_", Err(Syntax), Err(Syntax)),
        ("0_", Err(Syntax), Err(Syntax)),
        ("9223372036854775807", Ok(i64::MAX), Ok(i64::MAX)),
        ("9223372036854775808", Err(Range(i64::MAX)), Err(Range(i64::MAX))),
        ("-9223372036854775808", Ok(i64::MIN), Ok(i64::MIN)),
        ("-9223372036854775809", Err(Range(i64::MIN)), Err(Range(i64::MIN))),
        ("99999999999999999999", Err(Range(i64::MAX)), Err(Range(i64::MAX))),
        ("+5", Ok(5), Ok(5)),
        ("+-5", Err(Syntax), Err(Syntax)),
        ("", Err(Syntax), Err(Syntax)),
        ("+", Err(Syntax), Err(Syntax)),
        ("12.0", Err(Syntax), Err(Syntax)),
        ("１", Err(Syntax), Err(Syntax)),
    ] {
        assert_eq!(parse_int(text, 0), zero, "{text:?} in base 0");
        assert_eq!(parse_int(text, 10), ten, "{text:?} in base 10");
    }
    assert_eq!(parse_int("777", 8), Ok(511));
    assert_eq!(parse_int("8", 8), Err(Syntax));
    assert_eq!(parse_uint("+1", 0), Err(Syntax));
    assert_eq!(parse_uint("18446744073709551616", 10), Err(Range(u64::MAX)));
    for (text, int, float) in [
        ("0x1F", Some(31), Some(31.0)),
        ("010", Some(8), Some(8.0)),
        ("-1_000", Some(-1000), Some(-1000.0)),
        ("09", None, Some(9.0)),
        ("1_0.5", None, Some(10.5)),
        (".5", None, Some(0.5)),
        ("+.inf", None, Some(f64::INFINITY)),
        ("-.Inf", None, Some(-f64::INFINITY)),
        ("1e3", None, Some(1000.0)),
        ("18446744073709551615", Some(u64::MAX.into()), Some(u64::MAX as f64)),
        ("inf", None, None),
        ("1e999", None, None),
        ("many", None, None),
        ("", None, None),
        ("-", None, None),
        ("+-1", None, None),
        ("_1", None, None),
        ("0x", None, None),
        ("1 ", None, None),
    ] {
        assert_eq!((parse_yaml_int(text), parse_yaml_float(text)), (int, float), "{text:?}");
    }
    assert!(parse_yaml_float(".nan").is_some_and(f64::is_nan));
    assert_eq!((NoNumber::Range(7).value(0), NoNumber::Syntax.value(0)), (7, 0));
}

/// Expected values come from Go 1.26.
#[test]
fn durations() {
    use NoNumber::{Range, Syntax};
    const S: i64 = 1_000_000_000;
    for (text, want) in [
        ("1.5s", Ok(S * 3 / 2)),
        ("-1.5s", Ok(-S * 3 / 2)),
        ("+2m", Ok(120 * S)),
        ("1h30m", Ok(5400 * S)),
        ("0", Ok(0)),
        ("-0", Ok(0)),
        ("+0", Ok(0)),
        (".5s", Ok(S / 2)),
        ("1.s", Ok(S)),
        ("1µs", Ok(1000)),
        ("1μs", Ok(1000)),
        ("1.9ns", Ok(1)),
        ("0.3333333333333333333333h", Ok(1_200_000_000_000)),
        ("1.0000000001s", Ok(S)),
        ("9223372036854775807ns", Ok(i64::MAX)),
        ("9223372036854775808ns", Err(Range(i64::MAX))),
        ("-9223372036854775808ns", Ok(i64::MIN)),
        ("3000000h", Err(Range(i64::MAX))),
        ("99999999999999999999s", Err(Range(i64::MAX))),
        ("", Err(Syntax)),
        ("-", Err(Syntax)),
        ("1", Err(Syntax)),
        (".s", Err(Syntax)),
        ("s", Err(Syntax)),
        ("1d", Err(Syntax)),
        ("1 s", Err(Syntax)),
        (" 1s", Err(Syntax)),
        ("1h-5m", Err(Syntax)),
        ("0x10s", Err(Syntax)),
        ("1_0s", Err(Syntax)),
        ("1e3s", Err(Syntax)),
        ("1.5.5s", Err(Syntax)),
    ] {
        assert_eq!(parse_duration(text), want, "{text:?}");
    }
}
