// The OpenAPI document as a page.
const api = await (await fetch("/openapi.json")).json();
const main = document.getElementById("docs");
document.getElementById("title").textContent = `${api.info.title} ${api.info.version}`;

function element(name, text, children = []) {
  const made = document.createElement(name);
  if (text != null) made.textContent = text;
  made.append(...children);
  return made;
}

/** A schema in one line: `array of Seen`, `string | null`. */
function type(schema = {}) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const any = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (any) return any.map(type).join(" | ");
  if (schema.type === "array") return `array of ${schema.prefixItems ? schema.prefixItems.map(type).join(", ") : type(schema.items)}`;
  return [schema.type ?? "any"].flat().join(" | ");
}

function table(head, rows) {
  if (!rows.length) return "";
  const line = (cells, name) => element("tr", null, cells.map((cell) => element(name, cell)));
  return element("table", null, [
    element("thead", null, [line(head, "th")]),
    element("tbody", null, rows.map((row) => line(row, "td"))),
  ]);
}

function operation(method, path, call) {
  const content = (where) => Object.entries(where?.content ?? {}).map(([kind, { schema }]) => `${kind}: ${type(schema)}`).join("\n");
  const heading = element("summary", null, [
    Object.assign(element("b", method.toUpperCase()), { className: "method" }),
    element("code", path),
    element("span", call.summary),
  ]);
  return element("details", null, [
    heading,
    element("p", call["x-endort-role"] ? `Needs a token of the role ${call["x-endort-role"]}.` : "Needs no token."),
    table(["parameter", "in", "type", ""], call.parameters.map((one) => [one.name, one.in, type(one.schema), one.description ?? ""])),
    table(["body"], call.requestBody ? [[content(call.requestBody)]] : []),
    table(["status", "", "content"], Object.entries(call.responses).map(([status, answer]) => [status, answer.description, content(answer)])),
  ]);
}

function schema(name, described) {
  const variants = described.oneOf ?? described.anyOf ?? [described];
  const rows = variants.flatMap((variant) =>
    Object.entries(variant.properties ?? {}).map(([key, value]) => [
      key,
      type(value) + ((variant.required ?? []).includes(key) ? "" : " (optional)"),
      value.description ?? "",
    ]),
  );
  const made = element("details", null, [
    element("summary", null, [element("code", name), element("span", described.description ?? "")]),
    rows.length ? table(["field", "type", ""], rows) : element("p", type(described)),
  ]);
  made.id = name;
  return made;
}

main.append(element("p", api.info.description), element("h2", "Calls"));
for (const [path, calls] of Object.entries(api.paths)) {
  for (const [method, call] of Object.entries(calls)) main.append(operation(method, path, call));
}
main.append(element("h2", "Types"));
for (const [name, described] of Object.entries(api.components.schemas)) main.append(schema(name, described));
