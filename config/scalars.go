package config

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// refusal says why a text will not do: it completes the sentence "TEXT …".
type refusal struct{ says, hint string }

func (r *refusal) Error() string { return r.says }

// text gives a plain text; wanted names what it should be.
func (v value) text(wanted string) (string, bool) {
	if v.outlines(form{kind: kText, wanted: wanted}) {
		return "", false
	}
	if v.node.Kind == yaml.ScalarNode {
		if tag := v.node.ShortTag(); tag == "!!str" || tag == "!!timestamp" {
			return v.node.Value, true
		}
	}
	f := v.faultf("wanted %s, found %s", wanted, v.found())
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() != "!!null" {
		f.Hint = fmt.Sprintf("write %q, with the quotes", v.node.Value)
	}
	return "", false
}

// parsed reads a text that parse must accept.
func parsed[T any](wanted string, parse func(string) (T, *refusal)) reader[T] {
	return func(v value) (T, bool) {
		text, ok := v.text(wanted)
		if !ok {
			var none T
			return none, false
		}
		x, why := parse(text)
		if why != nil {
			v.faultf("%s %w", quote(text), why).Hint = why.hint
		}
		return x, why == nil
	}
}

// checked reads a text that check must accept as it is.
func checked(wanted string, check func(string) *refusal) reader[string] {
	return parsed(wanted, func(text string) (string, *refusal) { return text, check(text) })
}

// oneOf reads one of the words of a table.
func oneOf[T any](words map[string]T) reader[T] {
	allowed := slices.Sorted(maps.Keys(words))
	last := len(allowed) - 1
	wanted := strings.Join(allowed[:last], ", ") + " or " + allowed[last]
	values := make([]any, len(allowed))
	for i, w := range allowed {
		values[i] = words[w]
	}
	read := parsed(wanted, func(text string) (T, *refusal) {
		x, ok := words[text]
		if !ok {
			return x, &refusal{"is not " + wanted, didYouMean(text, allowed)}
		}
		return x, nil
	})
	return func(v value) (T, bool) {
		if v.outlines(form{kind: kWord, words: allowed, values: values}) {
			var none T
			return none, false
		}
		return read(v)
	}
}

// word reads one of the words as it is.
func word[T ~string](words ...T) reader[T] {
	table := make(map[string]T, len(words))
	for _, w := range words {
		table[string(w)] = w
	}
	return oneOf(table)
}

func asBool(v value) (bool, bool) {
	if v.outlines(form{kind: kBool}) {
		return false, false
	}
	if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!bool" {
		x, err := strconv.ParseBool(strings.ToLower(v.node.Value))
		return x, err == nil
	}
	f := v.faultf("wanted true or false, found %s", v.found())
	switch strings.ToLower(v.node.Value) {
	case "yes", "on", "1":
		f.Hint = "write true"
	case "no", "off", "0":
		f.Hint = "write false"
	}
	return false, false
}

// asInt reads a whole decimal number from least to most.
func asInt(least, most int64) reader[int] {
	return func(v value) (int, bool) {
		if v.outlines(form{kind: kWhole, least: least, most: most}) {
			return 0, false
		}
		wanted := fmt.Sprintf("a whole number from %d to %d", least, most)
		if v.node.Kind != yaml.ScalarNode || v.node.ShortTag() != "!!int" {
			f := v.faultf("wanted %s, found %s", wanted, v.found())
			if n, err := strconv.ParseInt(v.node.Value, 10, 64); err == nil && n >= least && n <= most {
				f.Hint = fmt.Sprintf("write %d, without quotes", n)
			}
			return 0, false
		}
		n, err := strconv.ParseInt(v.node.Value, 10, 64)
		if err != nil || n < least || n > most {
			v.faultf("wanted %s, found %s", wanted, v.node.Value)
			return 0, false
		}
		return int(n), true
	}
}

// number is asInt for the other integer types.
func number[T ~uint8 | ~uint16 | ~uint32](least, most int64) reader[T] {
	read := asInt(least, most)
	return func(v value) (T, bool) {
		n, ok := read(v)
		return T(n), ok
	}
}

func asPort(v value) (uint16, bool) { return number[uint16](1, 65535)(v) }

// asDuration reads a Go duration from least to most, in whole steps.
func asDuration(least, most, step time.Duration) reader[time.Duration] {
	return func(v value) (time.Duration, bool) {
		if v.outlines(form{kind: kDuration, from: least, to: most}) {
			return 0, false
		}
		if v.node.Kind == yaml.ScalarNode && v.node.ShortTag() == "!!int" && v.node.Value != "0" {
			v.faultf("wanted a duration, found the number %s", v.node.Value).Hint = fmt.Sprintf("write %ss", v.node.Value)
			return 0, false
		}
		if v.node.Value == "0" {
			return inRange(v, 0, least, most, step)
		}
		text, ok := v.text("a duration such as 200ms or 30s")
		if !ok {
			return 0, false
		}
		d, err := time.ParseDuration(text)
		if err != nil {
			v.faultf("%s is not a duration", quote(text)).Hint = "write it as 200ms, 30s or 5m"
			return 0, false
		}
		return inRange(v, d, least, most, step)
	}
}

func inRange(v value, d, least, most, step time.Duration) (time.Duration, bool) {
	switch {
	case d < least || d > most:
		v.faultf("%s is out of range", v.node.Value).Hint = fmt.Sprintf("from %s to %s", brief(least), brief(most))
	case d%step != 0:
		v.faultf("%s is not a multiple of %s", v.node.Value, brief(step))
	default:
		return d, true
	}
	return 0, false
}

// brief writes 1h instead of 1h0m0s.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return cmp.Or(text, "0s")
}
