// A script of the day, in a project that has installed Glimpse: connects, asks about a picture, and says when the first
// token has come. It does not close its client: an idle connection keeps no program alive.
const [package_, picture] = process.argv.slice(2);
const { connect } = await import(package_);
const glm = await connect();
for await (const event of glm.stream({ prompt: "Describe this image.", images: [picture] })) {
  if (event.type === "thinking" || event.type === "text") break;
}
process.stdout.write("first token\n");
