package cost

// The model of a request and of a month. The page prints these figures; whoever
// has others of their own scales the lines that depend on them.
const (
	hoursPerMonth   = 730
	minutesPerMonth = hoursPerMonth * 60
	secondsPerMonth = minutesPerMonth * 60

	bodyKB     = 50 // request body: to us, and on to the vendor
	answerKB   = 60 // streamed answer of about 400 tokens: an event a token, about 150 bytes each
	callTime   = 20 // seconds from the first byte of the request to the last one of the answer
	peakFactor = 3  // the busiest time has so many times the mean rate, and tasks are there for it all month
	logKB      = 1  // the line of a request in the log
	traceEvery = 20 // one request in so many is traced (5 %), after the first of each second and task

	// A script is charged by the larger of the KB it transfers and its vCPU time
	// in units of a plain GET, as the classifier of AWS's own estimation tool has
	// it (github.com/aws/agent-toolkit-for-aws, command_classifier.py; the exact
	// formula is not published). Admit and Settle each run about 24 commands
	// inside; the other two commands are charged by what they transfer.
	storeCommands     = 4
	storeCommandKB    = 2
	storeScripts      = 2      // of the commands
	storeScriptECPUs  = 24     // by vCPU time
	storeWritten      = 3      // of the commands, the ones that MemoryDB bills as data written
	storeBytes        = 350    // of a settled request: its record and its share of the sums
	storeDays         = 7      // a record leaves the store for the archive after so many days
	storeBaseKB       = 10_000 // keys, users, accounts
	storePartitions   = 64     // each sweep runs a script in each
	sweepsPerTask     = secondsPerMonth / 5
	archiveBytes      = 250                             // of a request, kept for a year
	archiveObjects    = storePartitions * hoursPerMonth // one an hour and partition, at most one a request
	idleObjects       = 1_000                           // writes of the config log
	streamsPerTask    = 400                             // target of scaling, unless the template names one
	taskMetrics       = 3                               // of the streamer, by service, so not by task
	taskLogKB         = minutesPerMonth                 // a line of metrics of 1 KB each minute
	jobMillis         = 300                             // run time of a function that is no streamer
	otherCalls        = 10_000                          // a month, of a function or an API that neither streams nor is scheduled
	keyRequests       = 10_000                          // a month: data keys are cached for 10 minutes
	pollsPerMapping   = 5 * 3 * minutesPerMonth         // Lambda polls a queue with 5 readers, 20 s each
	imageKB           = 1_000_000                       // the images that a registry keeps
	flowLogKB         = 1                               // flow log records of a request
	flowLogIdleKB     = 100_000                         // of health checks and heartbeats
	lambdaConcurrency = 1_000                           // of an account, before it is raised
)

// Load is a rate of use.
type Load struct {
	Name     string // head of its column
	Requests int64  // a month
}

// Loads are the loads that the page has columns for, the least first.
func Loads() [3]Load {
	return [3]Load{{"idle", 0}, {"1 M requests", 1_000_000}, {"100 M requests", 100_000_000}}
}

// Quantity counts in millionths of the unit of a price, so that a KB is one
// millionth of a GB and a request one of a million requests.
type Quantity int64

const one Quantity = 1_000_000

// streams is how many requests are open at the busiest time.
func streams(l Load) int64 {
	return ceil(l.Requests*callTime*peakFactor, secondsPerMonth)
}

func ceil(n, by int64) int64 { return (n + by - 1) / by }

// storedKB is what the store holds.
func storedKB(l Load) int64 {
	return storeBaseKB + ceil(l.Requests*storeBytes/1000*storeDays, 30)
}

// requestECPUs is what the commands of one request are charged.
const requestECPUs = storeScripts*storeScriptECPUs + (storeCommands-storeScripts)*storeCommandKB
