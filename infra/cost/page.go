package cost

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"sluice/shared/money"
)

// Page writes what the deployments cost, as Markdown: a table for each, whether
// it keeps its goal, the model behind the figures and every price with its source.
// The same input gives the same bytes, so that a test can hold the page against
// the templates. Nothing is written when an estimate fails.
func Page(w io.Writer, deployments []Deployment) error {
	var page bytes.Buffer
	var all []*Estimate
	for _, d := range deployments {
		e, err := Of(d)
		if err != nil {
			return err
		}
		all = append(all, e)
	}
	prices, err := Prices()
	if err != nil {
		return err
	}
	writeSummary(&page, all)
	for _, e := range all {
		writeEstimate(&page, e)
	}
	writeModel(&page)
	writePrices(&page, prices, all)
	_, err = w.Write(page.Bytes())
	return err
}

func writeSummary(w *bytes.Buffer, all []*Estimate) {
	fmt.Fprint(w, `# What a deployment costs

US dollars a month of `, hoursPerMonth, ` hours in us-east-1, computed from the synthesized templates and a file of list
prices. The store is included, the vendors' tokens are not, and no free allowance is subtracted. "Idle" is a
deployment that nobody uses; its goal is held against that figure.

| Deployment |`)
	for _, l := range Loads() {
		fmt.Fprintf(w, " %s |", l.Name)
	}
	fmt.Fprint(w, " Goal, idle | Met |\n|---|--:|--:|--:|--:|---|\n")
	for _, e := range all {
		goal, met := "none", "–"
		if e.Goal != nil {
			goal, met = "≤ "+cents(e.Goal.Most), "**no**"
			if e.Met() {
				met = "yes"
			}
		}
		fmt.Fprintf(w, "| %s |%s %s | %s |\n", e.Deployment.Name, cells(e.Total), goal, met)
	}
	fmt.Fprint(w, `
For comparison: AWS's sample cost table of its Guidance for Multi-Provider Generative AI Gateway on AWS (LiteLLM
on ECS, default parameters, us-east-1) sums to $378.10 a month, and to $384.83 on EKS. It is another product with
another scope: those tables include a relational database, a NAT gateway, a web ACL, DNS and some traffic (1 TB
through the balancer, 100 GB out), so they are not the figures of an idle deployment. Source: the README of
[its repository](https://github.com/aws-solutions-library-samples/guidance-for-multi-provider-generative-ai-gateway-on-aws).
`)
}

func writeEstimate(w *bytes.Buffer, e *Estimate) {
	fmt.Fprintf(w, "\n## %s\n\n", e.Deployment.Name)
	if e.Deployment.Note != "" {
		fmt.Fprintf(w, "%s\n\n", strings.TrimSpace(e.Deployment.Note))
	}
	fmt.Fprint(w, "| Resource | Quantity | Price |")
	for _, l := range Loads() {
		fmt.Fprintf(w, " %s |", l.Name)
	}
	fmt.Fprint(w, "\n|---|--:|---|--:|--:|--:|\n")
	for _, it := range e.Items {
		fmt.Fprintf(w, "| %s | %s | %s per %s |%s\n", it.Resource, amounts(it.Quantity), it.Price.USD, it.Price.Unit, cells(it.Cost))
	}
	fmt.Fprintf(w, "| **Total** | | |%s\n", cells(e.Total))
	for i, r := range e.Remarks {
		if i == 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "- %s\n", r)
	}
}

// writeModel states every figure of model.go that a line depends on.
func writeModel(w *bytes.Buffer) {
	loads := Loads()
	last := loads[len(loads)-1]
	fmt.Fprintf(w, "\n## What is assumed\n\nA request:\n\n")
	list(w,
		fmt.Sprintf("has a body of %d KB, which goes on to the vendor, and an answer of %d KB in %d s (about 400 tokens, an event a token). Both leave AWS: for a vendor within the region, such as Bedrock, %d KB of the data out are not billed.", bodyKB, answerKB, callTime, bodyKB),
		fmt.Sprintf("sends the store %d commands of %d KB. %d are scripts, charged %d ECPUs each by their processor time; that is an estimate, as AWS does not publish the formula.", storeCommands, storeCommandKB, storeScripts, storeScriptECPUs),
		fmt.Sprintf("leaves %d bytes in the store for %d days, and %d bytes in the archive for a year. A store that keeps its records instead grows by %d MB with each million requests.", storeBytes, storeDays, archiveBytes, storeBytes),
		fmt.Sprintf("writes %d KB of log. One in %d is traced where tracing is on, besides the first of each second and task.", logKB, traceEvery),
	)
	fmt.Fprintf(w, "\nA month:\n\n")
	list(w,
		fmt.Sprintf("has its requests spread evenly but for the busiest time, at %d times the mean rate. Tasks are priced as if they were there for it all month: %s are %s streams at once, and a task carries as many as the template scales to (%d unless it says otherwise).", peakFactor, last.Name, thousands(streams(last)), streamsPerTask),
		fmt.Sprintf("has a sweep of %d partitions every 5 s from each task, and a line of metrics a minute.", storePartitions),
		fmt.Sprintf("has %s calls of each function or API that neither streams nor is scheduled, and %s requests to each key. Functions run %d ms, all but the streaming ones.", thousands(otherCalls), thousands(keyRequests), jobMillis),
		"uses the first tier of a price throughout, so large volumes of data are overstated a little.",
	)
	fmt.Fprintf(w, "\nNot counted: data between availability zones, data of AWS calls through interface endpoints, queues and topics that only failures use, the image in the registry of the CDK bootstrap, support and tax.\n")
}

func list(w *bytes.Buffer, lines ...string) {
	for _, l := range lines {
		fmt.Fprintf(w, "- %s\n", l)
	}
}

// writePrices lists the prices that the estimates used.
func writePrices(w *bytes.Buffer, prices []Price, all []*Estimate) {
	used := map[string]bool{}
	for _, e := range all {
		for _, it := range e.Items {
			used[it.Price.Key] = true
		}
	}
	fmt.Fprint(w, "\n## Prices\n\nEach as its source stated it; where that is not AWS, the line says so. `infra/cost/prices.json` has them all.\n\n| Price | USD | Per | Stated by | As of | Source |\n|---|--:|---|---|---|---|\n")
	for _, p := range prices {
		if used[p.Key] {
			fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %s |\n", p.Key, p.USD, p.Unit, p.By, p.Date, p.Source)
		}
	}
}

func cells(m Months) string {
	var b strings.Builder
	for _, n := range m {
		fmt.Fprintf(&b, " %s |", cents(n))
	}
	return b.String()
}

// cents is an amount rounded half up to cents: "1,234.50". What is not nothing
// is never shown as nothing.
func cents(n money.Nanos) string {
	const cent = money.Dollar / 100
	if n > 0 && n < cent/2 {
		return "< 0.01"
	}
	c := int64((n + cent/2) / cent)
	return thousands(c/100) + fmt.Sprintf(".%02d", c%100)
}

// amounts is a quantity at all loads, written once if it is the same.
func amounts(q [3]Quantity) string {
	if q[0] == q[1] && q[1] == q[2] {
		return q[0].String()
	}
	return fmt.Sprintf("%s / %s / %s", q[0], q[1], q[2])
}

// String is the quantity in units: with two decimals from one unit on, else with
// all that it has.
func (q Quantity) String() string {
	places := int64(1_000_000)
	if q >= one {
		places, q = 100, (q+5_000)/10_000
	}
	text := thousands(int64(q) / places)
	frac := strings.TrimRight(fmt.Sprintf("%0*d", len(strconv.FormatInt(places, 10))-1, int64(q)%places), "0")
	if frac == "" {
		return text
	}
	return text + "." + frac
}

// thousands writes a whole number with separators.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
