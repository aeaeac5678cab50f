package pickle

import (
	"strings"
	"testing"
)

func TestParseRefusesPickles(t *testing.T) {
	float4 := storageOf("FloatStorage", "0", 4)
	vector := tensorOf(float4, 0, []int64{4}, []int64{1})
	for name, c := range map[string]struct{ program, want string }{
		"os.system":         {"\x80\x02" + name("os", "system") + tupled(text("touch marker")) + "R.", `byte 2 of the pickle: it names "os.system"`},
		"builtins.eval":     {program(name("builtins", "eval") + tupled(text("1")) + "R"), `"builtins.eval"`},
		"a dotted name":     {program(name("torch", "FloatStorage.mro")), `"torch.FloatStorage.mro"`},
		"numpy":             {program(name("numpy.core.multiarray", "_reconstruct")), `"numpy.core.multiarray._reconstruct"`},
		"another parameter": {program(name("torch.nn.parameter", "Parameter")), `"torch.nn.parameter.Parameter"`},
		"a name's bytes":    {program(name("os\xff\x1b[", "system")), `"os\xff\x1b[.system"`},
		"a name's length":   {program("c" + strings.Repeat("x", maxString)), "does not end within 4096 bytes"},
		"name cut":          {program("cos"), "does not end"},

		"new object":     {program(hooks + ")\x81"), "0x81"},
		"instance":       {"(ios\nsystem\n.", `operation 0x69 ('i')`},
		"object":         {"(" + name("collections", "OrderedDict") + "o.", `operation 0x6f ('o')`},
		"named by stack": {"\x80\x02" + text("os") + text("system") + "\x93.", "0x93"},
		"extension":      {"\x80\x02\x82\x01.", "0x82"},
		"text global id": {"P0\n.", `operation 0x50 ('P')`},
		"frames":         {"\x80\x02\x95\x00\x00\x00\x00\x00\x00\x00\x00.", "0x95"},

		"call of a dict":       {program("})R"), "it calls a dict"},
		"call of a storage":    {program(name("torch", "FloatStorage") + ")R"), "it calls torch.FloatStorage"},
		"call of a tuple":      {program("))R"), "it calls a tuple"},
		"arguments":            {program(name("collections", "OrderedDict") + "]R"), "the arguments of a call are a list"},
		"filled OrderedDict":   {program(name("collections", "OrderedDict") + tupled("]") + "R"), "made of 1 arguments"},
		"state of a dict":      {program("}}b"), "sets the state of a dict"},
		"state of a tensor":    {program(vector + "}b"), "sets the state of a tensor"},
		"state not a dict":     {program(hooks + ")b"), "is a tuple, not a dict"},
		"id not a tuple":       {program(text("storage") + "Q"), "persistent id"},
		"id of a module":       {program(tupled(text("module"), "N", "N", "N", "N") + "Q"), "persistent id"},
		"id with a tuple":      {program(tupled(")", "N", "N", "N", "N") + "Q"), "persistent id"},
		"id too short":         {program(tupled(text("storage")) + "Q"), "persistent id"},
		"storage of no type":   {program(tupled(text("storage"), text("torch.FloatStorage"), text("0"), text("cpu"), "K\x01") + "Q"), "the type of a storage is a string"},
		"storage of a call":    {program(tupled(text("storage"), name("torch._utils", "_rebuild_tensor_v2"), text("0"), text("cpu"), "K\x01") + "Q"), "is torch._utils._rebuild_tensor_v2"},
		"key a number":         {program(tupled(text("storage"), name("torch", "FloatStorage"), "K\x00", text("cpu"), "K\x01") + "Q"), "the key of a storage is an integer"},
		"location":             {program(tupled(text("storage"), name("torch", "FloatStorage"), text("0"), "N", "K\x01") + "Q"), `the location of storage "0" is None`},
		"a view of a storage":  {program(tupled(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), "K\x01", integers(1)) + "Q"), "views another"},
		"elements negative":    {program(storageOf("FloatStorage", "0", -1)), "elements of storage \"0\": -1 is negative"},
		"elements a text":      {program(tupled(text("storage"), name("torch", "FloatStorage"), text("0"), text("cpu"), text("1")) + "Q"), "a string, not an integer"},
		"storage too large":    {program(storageOf("FloatStorage", "0", 1<<62)), "4611686018427387904 elements is larger than the file"},
		"storage twice":        {program(tupled(float4, storageOf("FloatStorage", "0", 3))), "once 4 elements of F32, once 3"},
		"storage as two types": {program(tupled(float4, storageOf("HalfStorage", "0", 4))), "once 4 of F16"},
		"storage absent":       {program(tensorOf(storageOf("FloatStorage", "1", 4), 0, []int64{4}, []int64{1})), "data/1: the zip archive has no such file"},
		"storage beyond it":    {program(tensorOf(storageOf("FloatStorage", "0", 5), 0, []int64{4}, []int64{1})), `storage "0" has 16 bytes; 5 elements of F32 need 20`},
		"storage of a path":    {program(tensorOf(storageOf("FloatStorage", "../data.pkl", 4), 0, []int64{4}, []int64{1})), "no such file"},
		"storage unused":       {program(tupled(storageOf("HalfStorage", "0", 4))), "16 bytes; 4 elements of F16 need 8"},

		"offset beyond":    {program(tensorOf(float4, 4, []int64{1}, []int64{1})), "reach beyond the 4 elements"},
		"offset negative":  {program(tensorOf(float4, -1, []int64{4}, []int64{1})), "offset: -1 is negative"},
		"offset huge":      {program(tensorOf(float4, 1<<63-1, []int64{2}, []int64{1})), "reach beyond"},
		"size beyond":      {program(tensorOf(float4, 1, []int64{4}, []int64{1})), "reach beyond"},
		"size negative":    {program(tensorOf(float4, 0, []int64{-4}, []int64{1})), "size: dimension 0: -4 is negative"},
		"sizes negative":   {program(tensorOf(float4, 0, []int64{-2, -2}, []int64{2, 1})), "negative"},
		"size overflows":   {program(tensorOf(float4, 0, []int64{1 << 32, 1 << 32}, []int64{0, 0})), "overflows"},
		"stride negative":  {program(tensorOf(float4, 3, []int64{4}, []int64{-1})), "stride: dimension 0: -1 is negative"},
		"stride beyond":    {program(tensorOf(float4, 0, []int64{2, 2}, []int64{3, 1})), "reach beyond"},
		"stride overflows": {program(tensorOf(float4, 0, []int64{3}, []int64{1 << 62})), "reach beyond"},
		"stride zero":      {program(tensorOf(float4, 0, []int64{5}, []int64{0})), "needs more than the 4 elements"},
		"stride missing":   {program(tensorOf(float4, 0, []int64{4, 1}, []int64{1})), "2 sizes but 1 strides"},
		"stride a list":    {program(call(float4, "K\x00", integers(4), "]", no, hooks)), "stride: a list, not a tuple"},
		"size a boolean":   {program(call(float4, "K\x00", tupled("\x88"), integers(1), no, hooks)), "a boolean, not an integer"},
		"many dimensions":  {program(tensorOf(float4, 0, make([]int64, maxRank+1), make([]int64, maxRank+1))), "9 dimensions"},
		"no storage":       {program(call("N", "K\x00", integers(4), integers(1), no, hooks)), "the storage of a tensor is None"},
		"gradient":         {program(call(float4, "K\x00", integers(4), integers(1), "K\x01", hooks)), "requires_grad of a tensor is an integer"},
		"hooks":            {program(call(float4, "K\x00", integers(4), integers(1), no, hooks+text("h")+"Ns")), "hooks"},
		"metadata":         {program(call(float4, "K\x00", integers(4), integers(1), no, hooks, "}"+text("neg")+"\x88s")), "metadata"},
		"few arguments":    {program(call(float4, "K\x00")), "6 or 7 arguments, not 2"},

		"not a tensor":       {program("N"), `"a" is None, not a tensor`},
		"a key twice":        {"\x80\x02}(" + text("a") + vector + text("a") + vector + "u.", `key "a" comes twice`},
		"a key of a number":  {"\x80\x02}K\x01" + vector + "s.", "a key of a dict is an integer"},
		"a key of a list":    {"\x80\x02}]" + vector + "s.", "a key of a dict is a list"},
		"a key alone":        {"\x80\x02}(" + text("a") + "u.", "has no value"},
		"items of a list":    {"\x80\x02](" + text("a") + vector + "u.", "sets items of a list"},
		"append to a dict":   {program("}Na"), "appends to a dict"},
		"extend a tuple":     {program(")(Ne"), "appends to a tuple"},
		"text not UTF-8":     {program(text("\xff")), `"\xff" is not valid UTF-8`},
		"text too long":      {program(text(strings.Repeat("x", maxString+1))), "4097 bytes is longer than the limit"},
		"text beyond":        {"\x80\x02X\xff\xff\x00\x00", "longer than the limit"},
		"text cut":           {"\x80\x02X\xff\x00\x00\x00abc", "truncated"},
		"long of nine bytes": {program("\x8a\x09123456789"), "integer of 9 bytes"},

		"memo huge":       {program("Nr\xff\xff\xff\xff"), "memo index 4294967295 is above the limit"},
		"memo limit":      {program("Nr\x00\x00\x01\x00"), "memo index 65536"},
		"memo empty":      {program("h\x07"), "memo 7 is empty"},
		"memo empty, far": {program("j\xff\xff\xff\xff"), "memo 4294967295 is empty"},
		"memo of nothing": {"\x80\x02q\x00.", "the stack is empty"},
		"memo of a mark":  {"\x80\x02(q\x00.", "a mark stands"},

		"stack deep":       {"\x80\x02" + strings.Repeat("N", maxStack+1), "deeper than the limit of 65536"},
		"marks deep":       {"\x80\x02" + strings.Repeat("(", maxStack+1), "deeper than the limit"},
		"pickle long":      {"\x80\x02}" + strings.Repeat("q\x00", maxPickle/2), "above the limit of 1048576"},
		"stack empty":      {"\x80\x02.", "leaves 0 values"},
		"stack left over":  {"\x80\x02}}.", "leaves 2 values"},
		"stops at a mark":  {"\x80\x02(.", "a mark stands"},
		"no mark":          {"\x80\x02}t.", "no mark"},
		"mark taken twice": {"\x80\x02}(tt.", "no mark"},
		"below a mark":     {"\x80\x02N(\x85.", "a mark stands"},
		"pair of one":      {"\x80\x02N\x86.", "the stack is empty"},
		"no end":           {"\x80\x02}", "truncated"},
		"nothing":          {"", "truncated"},
		"text protocol":    {"}.more", "4 bytes follow the pickle"},
		"other protocol":   {"\x80\x05}.", "protocol 5"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(archiveOf(t, c.program, strings.Repeat("1234", 4)))
			wants(t, err, c.want)
		})
	}
}

// No operation reads below the stack, across a mark or beyond the end.
func TestParseRefusesEveryOperationAlone(t *testing.T) {
	for _, before := range [...]string{"", "(", "}", "}(", "N}", "}N", "]", "}(N", ")"} {
		for op := range 256 {
			for _, after := range []string{"", "\x00", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "a\nb\n."} {
				if before == "}" && op == opStop {
					continue // an empty dict, and something after it
				}
				_, err := Parse(archiveOf(t, "\x80\x02"+before+string([]byte{byte(op)})+after, ""))
				wants(t, err)
			}
		}
	}
}

// What other writers and other versions of PyTorch write for the same thing.
func TestParsePasses(t *testing.T) {
	const far = "\xff\xff\x00\x00"
	data := strings.Repeat("1234", 4)
	float4 := storageOf("FloatStorage", "0", 4)
	remembered := tupled(text("storage"), name("torch", "FloatStorage"), text("0")+"r"+far, "j"+far, "K\x04") + "Q"
	shape := integers(2, 2)
	for name, pickled := range map[string]string{
		"as it is":           program(tensorOf(float4, 0, []int64{4, 1}, []int64{1, 1})),
		"tuples by number":   program(call(float4, "K\x00", "K\x04K\x01\x86", "K\x01K\x01\x86", no, hooks)),
		"integers by size":   program(call(float4, "M\x00\x00", tupled("J\x04\x00\x00\x00", "\x8a\x01\x01"), integers(1, 7), no, hooks)),
		"no hooks":           program(call(float4, "K\x00", shape, integers(2, 1), "\x88", "N")),
		"no metadata":        program(call(float4, "K\x00", shape, integers(2, 1), no, hooks, "}")),
		"far memo":           program(call(remembered, "K\x00", shape, integers(2, 1), no, hooks)),
		"attributes of dict": "\x80\x02" + hooks + text("a") + tensorOf(float4, 0, []int64{4}, []int64{1}) + "s}" + text("_metadata") + "Nsb.",
	} {
		tensors, err := Parse(archiveOf(t, pickled, data))
		if err != nil || string(tensors["a"].Data) != data {
			t.Errorf("%s: %q, %v", name, tensors["a"].Data, err)
		}
	}
}
