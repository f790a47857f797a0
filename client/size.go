package client

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. In JSON it is read as a number or as text that
// ParseSize reads, and written as a number.
type Size int64

// units are the words behind a number, in bytes. The short ones are binary, as
// everywhere around pieces.
var units = map[string]float64{
	"": 1, "b": 1, "bytes": 1,
	"k": 1 << 10, "kib": 1 << 10, "m": 1 << 20, "mib": 1 << 20, "g": 1 << 30, "gib": 1 << 30,
	"t": 1 << 40, "tib": 1 << 40, "p": 1 << 50, "pib": 1 << 50,
	"kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "pb": 1e15,
}

// ParseSize reads what people write: "34359738368", "32GiB", "32 GiB", "1.5TiB",
// "64G" (binary), "10 GB" (decimal).
func ParseSize(text string) (Size, error) {
	text = strings.TrimSpace(text)
	at := strings.LastIndexAny(text, "0123456789.") + 1
	unit, known := units[strings.ToLower(strings.TrimSpace(text[at:]))]
	wrong := fmt.Errorf("size %.40q: give bytes, or a number with KiB, MiB, GiB or TiB, such as 32GiB", text)
	if at == 0 || !known || strings.Trim(text[:at], "0123456789.") != "" {
		return 0, wrong
	}
	if n, err := strconv.ParseInt(text[:at], 10, 64); err == nil {
		if n < 0 || float64(n)*unit > math.MaxInt64/2 {
			return 0, wrong
		}
		return Size(n * int64(unit)), nil
	}
	f, err := strconv.ParseFloat(text[:at], 64)
	if err != nil || f < 0 || f*unit > math.MaxInt64/2 {
		return 0, wrong
	}
	return Size(math.Round(f * unit)), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (s *Size) UnmarshalJSON(raw []byte) (err error) {
	text := string(raw)
	if len(raw) > 0 && raw[0] == '"' {
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
	}
	if text == "null" {
		return nil
	}
	*s, err = ParseSize(text)
	return err
}

// String writes a size as ParseSize reads it: "32GiB" when it is round.
func (s Size) String() string {
	names, n, at := []string{"", "KiB", "MiB", "GiB", "TiB"}, int64(s), 0
	for n != 0 && n%1024 == 0 && at < len(names)-1 {
		n /= 1024
		at++
	}
	return strconv.FormatInt(n, 10) + names[at]
}
