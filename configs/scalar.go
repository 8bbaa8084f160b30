package configs

import (
	"fmt"
	"io/fs"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// isScalar reports whether v is written as a single value in the file.
func isScalar(v reflect.Value) bool {
	switch v.Interface().(type) {
	case Secret, Target, netip.Prefix:
		return true
	}
	switch v.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint32, reflect.Float64:
		return true
	default:
		return false
	}
}

// setScalar sets v from its text; the error says what text would do.
func setScalar(v reflect.Value, text string) error {
	switch p := v.Addr().Interface().(type) {
	case *string:
		*p = text
		return nil
	case *Secret:
		*p = NewSecret(text)
		return nil
	case *bool:
		return set(p, text, parseBool)
	case *int:
		return set(p, text, parseInt)
	case *float64:
		return set(p, text, parseShare)
	case *time.Duration:
		return set(p, text, parseDuration)
	case *fs.FileMode:
		return set(p, text, parseMode)
	case *netip.Prefix:
		return set(p, text, parsePrefix)
	case *Target:
		return set(p, text, parseTarget)
	}
	return setEnum(v, text)
}

func set[T any](p *T, text string, parse func(string) (T, error)) error {
	value, err := parse(text)
	if err == nil {
		*p = value
	}
	return err
}

func setEnum(v reflect.Value, text string) error {
	words := v.Interface().(enum).values()
	if !slices.Contains(words, text) {
		return fmt.Errorf("%q is not known; use %s%s", shorten(text), oneOf(words), suggest(text, words))
	}
	v.SetString(text)
	return nil
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a switch; use true or false", shorten(s))
}

func parseInt(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number; write digits only, like 3", shorten(s))
	}
	return n, nil
}

func parseShare(s string) (float64, error) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return 0, fmt.Errorf("%q is not a share; write a number from 0 to 1, like 0.1", shorten(s))
	}
	return f, nil
}

func parseDuration(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err == nil {
		return d, nil
	}
	if _, err := strconv.ParseFloat(s, 64); err == nil {
		return 0, fmt.Errorf("%q is a duration without a unit; write %ss for seconds", shorten(s), shorten(s))
	}
	return 0, fmt.Errorf("%q is not a duration; write a number and a unit of ms, s, m or h, like 15ms or 1h30m", shorten(s))
}

func parseMode(s string) (fs.FileMode, error) {
	mode, err := strconv.ParseUint(strings.TrimPrefix(s, "0o"), 8, 32)
	if err != nil || mode > 0o777 {
		return 0, fmt.Errorf(`%q is not an octal file mode; write it like "0660"`, shorten(s))
	}
	return fs.FileMode(mode), nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return prefix.Masked(), nil
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return netip.Prefix{}, fmt.Errorf("%s is an address, not a network; write %s/%d for it alone", addr, addr, addr.BitLen())
	}
	return netip.Prefix{}, fmt.Errorf("%q is not a network; write it like 10.0.0.0/8 or fd00::/8", shorten(s))
}

// oneOf lists words as "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
