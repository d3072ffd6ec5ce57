// Elastic's mockotlpserver on free or given ports: says where it listens, then writes a line of JSON for each request.
// node mock_otlp.js DIRECTORY_OF_THE_PACKAGE HTTP_PORT GRPC_PORT
const [directory, http, grpc] = process.argv.slice(2);
const {MockOtlpServer} = require(directory);
const tell = (signal) => (data) => console.log(JSON.stringify({signal, data}));
const server = new MockOtlpServer({
    logLevel: 'fatal', services: ['http', 'grpc'],
    httpHostname: '127.0.0.1', httpPort: Number(http), grpcHostname: '127.0.0.1', grpcPort: Number(grpc),
    onTrace: tell('traces'), onMetrics: tell('metrics'), onLogs: tell('logs'),
});
server.start().then(() => console.log(JSON.stringify({signal: 'ready', data: {http: server.httpUrl, grpc: server.grpcUrl}})));
