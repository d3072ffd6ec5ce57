%% Erlang's side of `python -m benchmarks peers`, on one scheduler: gen_servers, and a supervisor of very many of them.
%% By processor time, user and system, as ours; and the best of several runs, since what disturbs one only makes it slower.
-module(erlang_peer).
-export([main/1, start_link/0, init/1, handle_call/3, handle_cast/2]).

-define(REPEAT, 5).

main([What, Size]) ->
    Figures = measure(What, list_to_integer(atom_to_list(Size))),
    [io:format("~s ~f~n", [Name, float(Value)]) || {Name, Value} <- Figures],
    halt(0).

measure(messages, Count) ->
    {ok, Pid} = gen_server:start_link(?MODULE, counter, []),
    Casts = best(Count, fun() -> casts(Pid, Count), gen_server:call(Pid, ask, infinity) end),
    Calls = best(Count div 8, fun() -> calls(Pid, Count div 8) end),
    [{cast, Casts}, {call, Calls}];
measure(Kind, Count) when Kind =:= simple_one_for_one; Kind =:= one_for_one ->
    {ok, Sup} = supervisor:start_link(?MODULE, {supervisor, Kind}),
    erlang:garbage_collect(),
    Before = resident(),
    Began = used(),
    Children = start(Sup, Kind, Count, []),
    Spawned = used(),
    Bytes = (resident() - Before) / Count,
    [gen_server:cast(Pid, tell) || Pid <- Children],
    [gen_server:call(Pid, ask, infinity) || Pid <- [hd(Children), lists:last(Children)]],
    [{spawn, Count / max(Spawned - Began, 0.01)}, {bytes, Bytes}, {all, used() - Began}];
measure(restarts, Count) ->
    %% From a kill to the successor's init, among Count siblings under one_for_one, in microseconds.
    {ok, Sup} = supervisor:start_link(?MODULE, {siblings, Count}),
    Times = lists:sort([restart(Sup) || _ <- lists:seq(1, 300)]),
    [{p50, lists:nth(150, Times)}, {p99, lists:nth(297, Times)}].

restart(Sup) ->
    persistent_term:put(waits, self()),
    Pid = persistent_term:get(victim),
    Began = erlang:monotonic_time(nanosecond),
    exit(Pid, kill),
    receive {back, At} -> (At - Began) / 1000 after 10000 -> exit({no_restart, Sup}) end.

start(_, _, 0, Started) -> Started;
start(Sup, Kind, N, Started) ->
    {ok, Pid} = supervisor:start_child(Sup, child(Kind, N)),
    start(Sup, Kind, N - 1, [Pid | Started]).

child(simple_one_for_one, _) -> [];
child(one_for_one, N) -> #{id => N, start => {?MODULE, start_link, []}}.

casts(_, 0) -> ok;
casts(Pid, N) -> gen_server:cast(Pid, tell), casts(Pid, N - 1).

calls(_, 0) -> ok;
calls(Pid, N) -> gen_server:call(Pid, ask), calls(Pid, N - 1).

best(Count, Work) -> Count / lists:min([time(Work) || _ <- lists:seq(1, ?REPEAT)]).

time(Work) ->
    erlang:garbage_collect(),
    Began = used(),
    Work(),
    max(used() - Began, 0.01).

%% statistics(runtime) leaves out the time that the system takes, which for a million processes is half.
used() ->
    {ok, Stat} = file:read_file("/proc/self/stat"),
    Fields = string:lexemes(lists:last(string:split(binary_to_list(Stat), ")", trailing)), " "),
    (list_to_integer(lists:nth(12, Fields)) + list_to_integer(lists:nth(13, Fields))) / 100.

resident() ->
    {ok, Statm} = file:read_file("/proc/self/statm"),
    list_to_integer(lists:nth(2, string:lexemes(binary_to_list(Statm), " "))) * 4096.

start_link() -> gen_server:start_link(?MODULE, counter, []).

init({supervisor, one_for_one}) -> {ok, {#{strategy => one_for_one}, []}};
init({supervisor, simple_one_for_one}) ->
    {ok, {#{strategy => simple_one_for_one}, [#{id => child, start => {?MODULE, start_link, []}}]}};
init({siblings, Count}) ->
    Child = fun(Id, Start) -> #{id => Id, start => {gen_server, start_link, [?MODULE, Start, []]}} end,
    Half = Count div 2,
    {ok, {#{strategy => one_for_one, intensity => 1000000, period => 1},
          [Child(N, counter) || N <- lists:seq(1, Half)] ++ [Child(victim, victim)] ++
          [Child(N, counter) || N <- lists:seq(Half + 1, Count)]}};
init(victim) ->
    persistent_term:put(victim, self()),
    case persistent_term:get(waits, none) of
        none -> ok;
        Waits -> Waits ! {back, erlang:monotonic_time(nanosecond)}
    end,
    {ok, 0};
init(counter) -> {ok, 0}.

handle_call(ask, _From, Count) -> {reply, Count, Count + 1}.

handle_cast(tell, Count) -> {noreply, Count + 1}.
