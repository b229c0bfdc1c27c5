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

/** A type's name, as a way to its description. */
function link(name) {
  const made = Object.assign(element("a", name), { href: `#${name}` });
  made.addEventListener("click", () => unfold(name));
  return made;
}

/** A schema in one line: `array of Seen`, `string | null`, as texts and links. */
function type(schema = {}) {
  const either = (kinds) => kinds.flatMap((kind, index) => (index ? [" | ", ...kind] : kind));
  if (schema.$ref) return [link(schema.$ref.split("/").pop())];
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum) return [schema.enum.map((value) => JSON.stringify(value)).join(" | ")];
  const any = schema.anyOf ?? schema.oneOf ?? schema.allOf;
  if (any) return either(any.map(type));
  if (schema.additionalProperties) return ["object of ", ...type(schema.additionalProperties)];
  return either([schema.type ?? "any"].flat().map((kind) => (kind === "array" ? ["array of ", ...type(schema.items)] : [kind])));
}

/** Each cell is a text, or a list of texts and elements. */
function table(head, rows) {
  if (!rows.length) return "";
  const line = (cells, name) => element("tr", null, cells.map((cell) => element(name, null, [cell].flat())));
  return element("table", null, [
    element("thead", null, [line(head, "th")]),
    element("tbody", null, rows.map((row) => line(row, "td"))),
  ]);
}

function operation(method, path, call) {
  const content = (where) => Object.entries(where?.content ?? {}).map(([kind, { schema }]) => element("div", null, [`${kind}: `, ...type(schema)]));
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

function fields({ properties = {}, required = [] }) {
  return table(["field", "type", ""], Object.entries(properties).map(([key, value]) => [
    key,
    [...type(value), required.includes(key) ? "" : " (optional)"],
    value.description ?? "",
  ]));
}

/** One of several forms, with the value of `type` that tells it from the others, or with what only it requires. */
function variant(one) {
  return [
    element("h3", null, [element("code", one.properties?.type?.const ?? one.required?.join(", ") ?? ""), ` ${one.description ?? ""}`]),
    fields(one),
    one.$ref ? element("p", null, ["and all fields of ", ...type({ $ref: one.$ref })]) : "",
  ];
}

function schema(name, described) {
  const forms = described.oneOf ?? described.anyOf ?? [];
  const values = forms.length > 0 && forms.every((form) => form.const !== undefined);
  const made = element("details", null, [
    element("summary", null, [element("code", name), element("span", described.description ?? "")]),
    fields(described),
    ...(values ? [table(["value", ""], forms.map((form) => [type(form), form.description ?? ""]))] : forms.flatMap(variant)),
    described.properties || forms.length ? "" : element("p", null, type(described)),
  ]);
  made.id = name;
  return made;
}

/** Opens a type's description. */
function unfold(name) {
  const found = document.getElementById(name);
  if (found?.localName === "details") found.open = true;
  return found;
}

main.append(element("p", api.info.description), element("h2", "Calls"));
for (const [path, calls] of Object.entries(api.paths)) {
  for (const [method, call] of Object.entries(calls)) main.append(operation(method, path, call));
}
main.append(element("h2", "Types"));
for (const [name, described] of Object.entries(api.components.schemas)) main.append(schema(name, described));

const named = () => decodeURIComponent(location.hash.slice(1));
addEventListener("hashchange", () => unfold(named()));
unfold(named())?.scrollIntoView();
