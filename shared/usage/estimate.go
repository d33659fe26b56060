package usage

import (
	"math"

	"sluice/shared/llm"
)

// DefaultBytesPerToken is what a token of generated content is taken to have when
// nothing better is known. English prose has about 4.5, code and JSON about 3.
const DefaultBytesPerToken = 3.0

// Estimate is the usage of an answer: the vendor's figures when it is complete;
// else, marked as an estimate, the reported input or otherwise its bound, and the
// output that was seen: reported, or as many tokens as its bytes make.
// bytesPerToken of 0 is DefaultBytesPerToken.
func Estimate(r llm.Reading, inputBound int64, bytesPerToken float64) (u llm.Usage, estimated bool) {
	u.Merge(&r.Usage)
	if r.Complete {
		return u, false
	}
	if bytesPerToken <= 0 {
		bytesPerToken = DefaultBytesPerToken
	}
	if u.Input == nil && u.CacheRead == nil && u.CacheWrite5m == nil && u.CacheWrite1h == nil {
		u.Input = &inputBound
	}
	seen := int64(math.Ceil(float64(r.Generated) / bytesPerToken))
	output := max(llm.Count(u.Output), seen)
	u.Output = &output
	return u, true
}
